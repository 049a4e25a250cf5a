"""Setups: how price comes to a level, touches it, and what it does then."""

from engine.setups.timeline import HISTORY, Timeline
from engine.setups.triggers import KINDS, session_triggers, trigger_schema

__all__ = ["HISTORY", "KINDS", "Timeline", "session_triggers", "trigger_schema"]
