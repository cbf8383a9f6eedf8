"""Realtime sessions with MiniCPM-o: its voice and its eyes, over a WebSocket."""

from __future__ import annotations
