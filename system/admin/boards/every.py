"""The boards that there are. One that is added here has its page, its place in the navigation, and is live."""

from __future__ import annotations

from system.admin.boards import (
    alert_board,
    backup_board,
    drill_board,
    errors_board,
    matches_board,
    notifications_board,
    system_board,
    users_board,
)
from system.admin.boards.board import Board

BOARDS: tuple[Board, ...] = (
    system_board.BOARD,
    matches_board.BOARD,
    users_board.BOARD,
    notifications_board.BOARD,
    alert_board.BOARD,
    errors_board.BOARD,
    backup_board.BOARD,
    drill_board.BOARD,
)


def board_named(name: str) -> Board | None:
    """The board of that name."""
    return next((board for board in BOARDS if board.name == name), None)
