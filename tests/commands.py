"""Running the stackel command in tests."""

from typer.testing import CliRunner, Result

from stackel.cli import app


def run(*arguments: object, code: int = 0) -> Result:
    """What a command prints; it must end with this exit code."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    assert "\x1b" not in result.output, "no terminal, no colours"
    return result


def complaint(*arguments: object, code: int) -> str:
    """What a failing command says on stderr; it must print nothing else."""
    result = run(*arguments, code=code)
    assert result.stdout == ""
    return result.stderr
