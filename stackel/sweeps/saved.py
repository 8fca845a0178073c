"""A sweep's Dataset in a file: NetCDF or Parquet without loss, CSV for a spreadsheet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stackel.errors import GameError, OptionError
from stackel.results.saved import replacing

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

KEY = "stackel sweep"
"""Where a Parquet file's metadata holds what its columns do not say."""

ENDINGS = (".nc", ".parquet", ".csv")


def save(data: xr.Dataset, path: str | Path) -> Path:
    """Write a sweep, and return the path; the ending chooses the format.

    ``.nc``: NetCDF 4, as xarray writes it. ``.parquet``: :func:`table`, one row a cell. Both are
    read back by :func:`load`. ``.csv``: the same table, for other programs.

    Args:
        data: what :func:`stackel.sweep` returned.
        path: the file; it appears whole or not at all.

    Raises:
        OptionError: another ending.
        FileNotFoundError: there is no such folder.
    """
    path = Path(path)
    check_ending(path)
    with replacing(path) as part:
        if path.suffix == ".nc":
            data.to_netcdf(part, engine="h5netcdf")
        elif path.suffix == ".parquet":
            frame = table(data)
            frame.attrs = {KEY: _described(data)}
            frame.to_parquet(part, index=False)
        else:
            table(data).to_csv(part, index=False)
    return path


def load(path: str | Path) -> xr.Dataset:
    """Read what :func:`save` wrote as .nc or .parquet.

    Raises:
        OptionError: another ending.
        GameError: the file is not a saved sweep, or is damaged.
    """
    path = Path(path)
    check_ending(path, ENDINGS[:2])
    if not path.is_file():
        raise GameError(f"there is no file {path}; expected what stackel.sweeps.save wrote")
    try:
        return _from_netcdf(path) if path.suffix == ".nc" else _from_parquet(path)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise GameError(
            f"{path} is not a saved sweep, or is damaged ({type(error).__name__}: {error})"
        ) from error


def check_ending(path: Path, endings: tuple[str, ...] = ENDINGS) -> None:
    """Refuse a file that a sweep cannot be in.

    Args:
        path: the file's name.
        endings: those that will do.

    Raises:
        OptionError: it has another one.
    """
    if path.suffix not in endings:
        raise OptionError(
            f"{path} has the ending {path.suffix or 'none'!r}; expected {', '.join(endings)}"
        )


def table(data: xr.Dataset) -> pd.DataFrame:
    """One row a cell; what has players' dimensions has a column for each, ``leader_payoffs[0]``.

    Args:
        data: what :func:`stackel.sweep` returned; units are in its variables' attributes.
    """
    import pandas as pd

    dims = data["seconds"].dims  # the grid's parameters, and seed, which every variable has
    parameters = np.meshgrid(*(data[d].to_numpy() for d in dims), indexing="ij")
    columns = {str(d): values.ravel() for d, values in zip(dims, parameters, strict=True)}
    for name, variable in data.items():
        values = variable.to_numpy()
        for place in np.ndindex(*values.shape[len(dims) :]):
            index = f"[{', '.join(map(str, place))}]" if place else ""
            columns[f"{name}{index}"] = values[(..., *place)].ravel()
    return pd.DataFrame(columns)


def _described(data: xr.Dataset) -> str:
    """What the table's columns do not say, as JSON: shapes, coordinates, attributes."""
    coords = {str(n): [c.to_numpy().tolist(), dict(c.attrs)] for n, c in data.coords.items()}
    variables = {str(n): [list(v.dims), str(v.dtype), dict(v.attrs)] for n, v in data.items()}
    said = {"coords": coords, "variables": variables, "attrs": dict(data.attrs)}
    return json.dumps(said, default=lambda number: number.item())


def _from_parquet(path: Path) -> xr.Dataset:
    import pandas as pd
    import xarray as xr

    frame = pd.read_parquet(path)
    said = json.loads(frame.attrs[KEY])
    coords = {n: (n, np.array(values), attrs) for n, (values, attrs) in said["coords"].items()}
    variables = {}
    for name, (dims, dtype, attrs) in said["variables"].items():
        shape = [len(coords[d][1]) for d in dims]
        own = [c for c in frame.columns if c == name or c.startswith(f"{name}[")]
        values = frame[own].to_numpy().reshape(shape).astype(dtype)
        variables[name] = (dims, values, attrs)
    return xr.Dataset(variables, coords, said["attrs"])


def _from_netcdf(path: Path) -> xr.Dataset:
    import xarray as xr

    data = xr.load_dataset(path, engine="h5netcdf")
    for name in ("verdict", "status"):
        data[name] = data[name].astype(str)
    return data
