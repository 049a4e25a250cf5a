"""Databento's own historical client: what is asked again, and errors by name."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from engine.errors import DownloadFailed

T = TypeVar("T")

DATASET = "GLBX.MDP3"

GATEWAY = "SPYMASTER_DATABENTO_GATEWAY"
"""Environment variable with another address than Databento's, such as a proxy's; the connection is TLS always."""

TRIES, LONGEST_WAIT = 5, 60.0


class Client:
    """Databento's own client; what it is asked is asked again where that may help, and errors come as DownloadFailed."""

    def __init__(self, key: str) -> None:
        import logging

        import databento

        logging.getLogger("databento").setLevel(logging.WARNING)  # its messages of the level DEBUG hold parts of the key
        self._key = key
        gateway = os.environ.get(GATEWAY)
        self.historical = databento.Historical(key, gateway) if gateway else databento.Historical(key)

    def __repr__(self) -> str:
        return "Client()"

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Context manager in which Databento's client warns of nothing: what it would say is checked here, by hash and by count.
        It holds for the whole process, so that it stands around all threads, never within one.
        """
        from databento.common.error import BentoWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BentoWarning)
            yield

    def ask(self, doing: str, call: Callable[[], T]) -> T:
        """What `call` returns, tried again after refusals that pass (429, 5xx, a broken connection); `doing` is how errors name it."""
        import databento
        import requests

        wait = 1.0
        for left in range(TRIES - 1, -1, -1):
            try:
                return call()
            except databento.BentoHttpError as e:
                if not left or not (e.http_status == 429 or e.http_status >= 500):
                    raise self._named(doing, e.http_status, ": ".join(str(e).splitlines())) from None
                asked = str(e.headers.get("Retry-After", ""))
                wait = float(asked) if asked.isdecimal() else wait
            except (databento.BentoError, requests.RequestException) as e:
                if not left or isinstance(e, requests.exceptions.SSLError):
                    why = f"{doing}: the connection to Databento failed: {e}; check the network, and run again"
                    raise DownloadFailed(self._hide(why)) from None
            except (KeyError, TypeError, ValueError, RuntimeError) as e:
                raise DownloadFailed(
                    self._hide(f"{doing}: Databento's answer is not understood: {type(e).__name__}: {e}; `uv sync --upgrade` may help")
                ) from None
            time.sleep(min(wait, LONGEST_WAIT))
            wait *= 2
        raise AssertionError("unreachable")

    def _named(self, doing: str, status: int, text: str) -> DownloadFailed:
        why = {
            401: "the key was refused; check DATABENTO_API_KEY at https://databento.com/portal/keys",
            402: "Databento wants payment: the account has no credit or no payment method; https://databento.com/portal/billing",
            403: "the account may not have these data; its subscription or licence at https://databento.com/portal",
            404: "Databento does not know this; run again with other dates or another symbol",
            422: "the request was refused as it is; run again with other dates, schemas or another symbol",
            429: "too many requests; wait a minute, then run again: what was received is kept",
        }.get(status, "Databento's server failed; wait, then run again: what was received is kept" if status >= 500 else "refused")
        return DownloadFailed(self._hide(f"{doing}: {why}. Databento says: {text}"))

    def _hide(self, text: str) -> str:
        return text.replace(self._key, "(the key)")
