"""Saved tables read back as they were, with the state they carry."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
import pytest

from engine.errors import ContractError
from engine.features import pressure
from engine.ladder import Ladder
from tests.support.ladders import DATE, SYMBOL, make_frames
from workbench import export

STATE = {"contract": "ESZ5", "session": "2025-10-07", "level": "price:6800.25", "zones": {"at": 2}, "simulated": True, "note": 'a\nb, "ü"'}
FRAME = pl.DataFrame(
    {
        "t": [1_759_844_495_000_000_000, None],
        "x": [0.1, float("nan")],
        "s": ['a,"b"\n# c', None],
        "v": [[0.5, 1.0], None],
        "b": [True, False],
    },
    schema_overrides={"v": pl.List(pl.Float32)},
)


def test_parquet_reads_back_whole() -> None:
    data = export.to_bytes(FRAME, STATE, "parquet")
    assert pl.read_parquet(io.BytesIO(data)).equals(FRAME, null_equal=True)
    assert export.read_state(data, "parquet") == STATE


def test_csv_has_its_state_in_one_line_that_readers_pass_over() -> None:
    data = export.to_bytes(FRAME, STATE, "csv")
    assert data.split(b"\n")[0].startswith(b"# spymaster:state {")
    assert export.read_state(data, "csv") == STATE
    back = pl.read_csv(io.BytesIO(data[data.index(b"\n") + 1 :]))
    assert back["t"].to_list() == FRAME["t"].to_list()
    assert back["s"].to_list() == FRAME["s"].to_list()
    assert back["v"].to_list() == ["[0.5, 1.0]", None]
    plain = export.to_bytes(FRAME.drop("s"), STATE, "csv")
    assert pl.read_csv(io.BytesIO(plain), comment_prefix="#").height == 2


def test_what_cannot_be_saved_is_refused() -> None:
    with pytest.raises(ContractError, match="csv or parquet"):
        export.to_bytes(FRAME, STATE, "xlsx")  # type: ignore[arg-type]
    with pytest.raises(ContractError, match="at most"):
        export.to_bytes(pl.DataFrame({"a": np.zeros(export.MAX_CELLS // 2 + 1), "b": np.zeros(export.MAX_CELLS // 2 + 1)}), {}, "csv")
    for kind, data in (("csv", b"a,b\n1,2\n"), ("parquet", _bare())):
        with pytest.raises(ContractError, match="without a state"):
            export.read_state(data, kind)  # type: ignore[arg-type]


def _bare() -> bytes:
    out = io.BytesIO()
    pl.DataFrame({"a": [1]}).write_parquet(out)
    return out.getvalue()


def test_a_file_name_holds_nothing_that_a_path_would() -> None:
    assert export.file_name("windows", STATE, "csv") == "windows_ESZ5_2025-10-07_price_6800.25.csv"
    assert export.file_name("x", {"contract": "../../etc", "level": None}, "parquet") == "x_.._.._etc.parquet"
    assert "/" not in export.file_name("a/b", {}, "csv")


def test_a_cube_is_a_row_per_window_and_price() -> None:
    book = Ladder.from_frames(*make_frames(60, 3), symbol=SYMBOL, date=DATE)
    cube = pressure(book.cube(book.start_ns, book.end_ns, 19_996, 20_003, window_s=5))
    frame = export.cube_frame(cube)
    assert frame.height == 12 * 8
    assert set(frame.columns) == {*map(str, cube.data_vars), *map(str, cube.coords)}
    for w, t in ((0, 0), (3, 7), (11, 2)):
        row = frame.row(w * 8 + t, named=True)
        assert row["tick"] == int(cube["tick"][t])
        assert row["window_start_ts_ns"] == int(cube["window_start_ts_ns"][w])
        for name in ("bid_depth", "ask_add", "long"):
            assert row[name] == float(cube[name][w, t])
        assert row["book_valid"] == bool(cube["book_valid"][w])
