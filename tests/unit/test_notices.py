"""Every view says what it has to say in the same place, with a button that closes it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

import workbench.views
from workbench.state import LevelState
from workbench.views.components import Notices

for _module in iter_modules(workbench.views.__path__):
    import_module(f"workbench.views.{_module.name}")


@pytest.mark.parametrize("key", list(workbench.views.VIEWS))
def test_a_notice_of_the_link_can_be_closed_in_every_view(key: str, tmp_path: Path) -> None:
    complaints = ["Link: window “x” cannot be shown"]
    view = workbench.views.VIEWS[key].cls(str(tmp_path), LevelState(), complaints)
    said = view.notices
    assert isinstance(said, Notices)
    said.show()
    assert said.banner.lines == ["Link: window “x” cannot be shown"]
    assert said.banner in view.__panel__().select(type(said.banner))
    said.banner.closed += 1
    assert (said.banner.lines, said.banner.visible, complaints) == ([], False, [])
