"""Databento's key: in the environment, or in the system's keyring; it is never printed, logged or written."""

from __future__ import annotations

import os

from engine.errors import DownloadFailed


def api_key() -> str:
    """The key, from the environment or the keyring; DownloadFailed without one. It is never printed."""
    key = os.environ.get("DATABENTO_API_KEY", "").strip() or _keyring()
    if not key:
        raise DownloadFailed(
            "expected Databento's API key in the environment variable DATABENTO_API_KEY, found none; "
            "`read -rs DATABENTO_API_KEY && export DATABENTO_API_KEY` asks for it without showing it; https://databento.com/portal/keys "
            "has it"
        )
    if not key.isascii() or not key.isprintable() or len(key) < 6:
        raise DownloadFailed("DATABENTO_API_KEY: expected a key of printable characters such as db-..., found something else")
    return key


def _keyring() -> str:
    """The key of the system's keyring, where the package keyring is installed and has one; else empty."""
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        return ""
    try:
        found = keyring.get_credential("databento", None)
    except KeyringError as e:
        raise DownloadFailed(f"the system's keyring cannot be read: {e}; unlock it, or put the key into DATABENTO_API_KEY") from e
    return (found.password if found is not None else "").strip()
