"""The report as pages: one self-contained HTML file, and Markdown with its pictures beside it."""

from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import TYPE_CHECKING

from stackel.examples.reproduction.errata import ERRATA
from stackel.examples.reproduction.published import QUANTITIES, Printed

if TYPE_CHECKING:
    from markupsafe import Markup

    from stackel.examples.reproduction.report import Report


def write_pages(report: Report, out: Path) -> list[Path]:
    """Write report.html and report.md into a folder.

    Args:
        report: what to write; its pictures are copied into the HTML and named in the Markdown.
        out: the folder, which exists.

    Returns:
        the two files.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("stackel.examples.reproduction"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": lambda v: f"{v:+.1%}".replace("-", "−"),
        "number": number,
        "share": lambda v: f"{v:.0%}",
        "rounding": rounding,
        "prose": prose,
        "image": _image,
    }
    context = {"errata": ERRATA, "quantities": QUANTITIES, "tiles": tiles(report)}
    pages = [out / "report.html", out / "report.md"]
    for page in pages:
        text = environment.get_template(f"{page.name}.j2").render(context, report=report)
        page.write_text(text, encoding="utf-8")
    return pages


def number(value: float | None) -> str:
    """Three significant digits, not more than three after the point; a dash for what is missing."""
    if value is None:
        return "–"
    above = math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{min(3, max(0, 2 - above))}f}".replace("-", "−")


def rounding(p: Printed) -> str:
    """What half a unit of the last printed digit amounts to."""
    share = p.half_digit / p.value
    return f"±{share:.1%}" if share >= 0.0005 else "<0.1%"


def prose(text: str) -> Markup:
    """A paragraph in HTML: what stands between backquotes is code."""
    from markupsafe import Markup, escape

    parts = str(escape(text)).split("`")
    return Markup("".join(f"<code>{p}</code>" if k % 2 else p for k, p in enumerate(parts)))


def power(value: float) -> str:
    """A small number as a power of ten, rounded up, e.g. 10⁻⁶."""
    exponent = math.ceil(math.log10(value)) if value > 0 else -16
    return "10" + f"{exponent}".translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def tiles(report: Report) -> list[tuple[str, str]]:
    """The report's summary: how much, and of what."""
    held, count = report.certified
    trends = report.trends
    out = []
    if report.values:
        out += [
            (f"{report.close} of {len(report.values)}", "printed values within 10 %"),
            (f"{report.mean_error():.1%}", "mean relative error of all printed values"),
        ]
        if any(c.printed.figure in ("fig5", "fig6") for c in report.values):
            out.append((f"{report.mean_error('fig5', 'fig6'):.1%}", "mean over Figs. 5 and 6"))
    if trends:
        out.append((f"{sum(t.holds for t in trends)} of {len(trends)}", "stated trends hold"))
    if count:
        out += [
            (f"{held} of {count}", "of ADMM's answers are certified equilibria"),
            (f"< {power(report.agreement)}", "relative difference to the closed form"),
        ]
    return out


def _image(picture: Path) -> str:
    """A picture as a data URI."""
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode("ascii")
