"""The catalog: every dataset of the lake, read from ``datasets.yaml``."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from engine.errors import ContractError, UnknownDataset
from engine.lake.contract import Contract, load_contract
from engine.vocab import root_of

CATALOG_PATH = Path(__file__).parent / "datasets.yaml"
BRONZE_MBO = "bronze.future_mbo.mbo"
LADDER = "silver.future_mbo.mbo_price_ladder_1s"
TAPE = "silver.future_mbo.mbo_tape_1s"
ORDER_EVENTS = "silver.future_mbo.order_events"
BARS = "silver.future_mbo.bars_2m"
LEVELS = "silver.future_mbo.levels"
VACUUM = "silver.future_mbo.mbo_level_vacuum_5s"
TRIGGERS = "gold.future_mbo.mbo_trigger_vectors"
WALLS = "gold.future_mbo.mbo_trigger_walls"
SIGNALS = "gold.future_mbo.mbo_trigger_signals"
STREAM = "gold.future_mbo.mbo_pressure_stream"
OPTION_TABLES = {t: f"bronze.future_option.{t}" for t in ("definition", "statistics", "tbbo", "bbo_1m")}
"""Bronze of a root's options by table."""

CHAIN = "silver.future_option.chain"
MARKS = "silver.future_option.marks_1m"
FLOW = "silver.future_option.flow_5s"
PROFILE = "gold.future_option.profile_1m"
OPTION_LEVELS = "gold.future_option.levels_1m"
RAW_OPTION_TEMPLATE = "raw/source=databento/product_type=future_option/symbol={root}/table={table}_dbn"
RAW_MBO_TEMPLATE = "raw/source=databento/product_type=future/symbol={root}/table=market_by_order_dbn"
RAW_SUFFIXES = (".dbn", ".dbn.zst")
SELECTION_PATH = "selection/mbo_contract_day_selection.parquet"


def raw_name_fault(name: str) -> str:
    """Why a file of this name is not read as a raw file, as ``expected ..., found ...``; empty where it is."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return f"expected a name in UTF-8, found {os.fsencode(name)!r}"
    if name.startswith("."):
        return f"expected a name without a dot at its start, found {name!r}"
    return "" if name.endswith(RAW_SUFFIXES) else f"expected a name that ends in {' or '.join(RAW_SUFFIXES)}, found {name!r}"


@dataclass(frozen=True)
class Dataset:
    """One dataset: path of its partitions and its contract."""

    key: str
    path: str
    partition_keys: tuple[str, ...]
    contract_path: str

    @property
    def layer(self) -> str:
        """``bronze``, ``silver`` or ``gold``."""
        return self.key.split(".")[0]

    @property
    def product_type(self) -> str:
        """Such as ``future_mbo``."""
        return self.key.split(".")[1]

    @property
    def table(self) -> str:
        """The table's name."""
        return self.key.split(".")[2]

    def owner(self, symbol: str) -> str:
        """Symbol of the partition that a contract's session reads: the root of a dataset that a root's contracts share, else its own."""
        return root_of(symbol).code if self.key in OPTION_TABLES.values() else symbol

    def partition(self, symbol: str, date: dt.date) -> str:
        """Folder of the partition, relative to the lake."""
        return self.path.format(symbol=symbol, date=date.isoformat())

    def contract(self) -> Contract:
        """The dataset's contract."""
        return load_contract(self.contract_path)


@lru_cache(maxsize=1)
def datasets() -> dict[str, Dataset]:
    """All datasets by key, in the catalog's order."""
    import yaml

    try:
        entries = yaml.safe_load(CATALOG_PATH.read_text(encoding="utf-8"))["datasets"]
        made = {k: Dataset(k, e["path"], tuple(e["partition_keys"]), e["contract"]) for k, e in entries.items()}
    except (OSError, KeyError, TypeError, yaml.YAMLError) as e:
        raise ContractError(f"{CATALOG_PATH}: expected `datasets:` with path, partition_keys, contract each; found {e!r}") from e
    return made


def dataset(key: str) -> Dataset:
    """The dataset `key`; UnknownDataset names the known ones."""
    try:
        return datasets()[key]
    except KeyError:
        raise UnknownDataset(f"dataset {key!r}: expected one of {', '.join(datasets())} (engine/lake/datasets.yaml)") from None
