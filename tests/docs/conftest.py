"""What the tests of the documentation share with those of the screen."""

from tests.ui.conftest import browser

__all__ = ["browser"]
