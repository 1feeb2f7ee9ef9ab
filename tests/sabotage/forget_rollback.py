"""A service with one planted bug: a job that fails is not rolled back, and what it had written is committed with the rest.

Run like the supervisor. The bug lives in the writer process.
"""

from __future__ import annotations

import sys
from typing import Any

from system import supervisor, writer
from system.batch import Batches


def keep(_batches: Batches, savepoint: Any) -> None:
    """The bug: released, where it should be rolled back."""
    savepoint.commit()


if __name__ == "__main__":
    if "--runtime" in sys.argv:
        sys.exit(supervisor.main({"writer": "forget_rollback", "http": "system.server"}))
    Batches.roll_back = keep  # type: ignore[method-assign,assignment]
    sys.exit(writer.main())
