"""Gathers every model file, so that `Base.metadata` is whole for whoever imports this one."""

from system import (  # noqa: F401
    challenge_models,
    health_models,
    notification_models,
    operations_models,
    points_models,
    tournament_models,
    user_models,
)
from system.admin import models  # noqa: F401
from system.database import Base
from system.reporting import record_models  # noqa: F401

metadata = Base.metadata
