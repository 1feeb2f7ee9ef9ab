"""Imports every module that registers write jobs, so that the writer knows them all by name."""

import system.admin.account_service
import system.admin.boards.alert_jobs
import system.admin.presence_jobs
import system.admin.session_service
import system.admin.token_service
import system.challenge_service
import system.health_jobs
import system.match_service
import system.notification_service
import system.reporting.record_jobs
import system.reporting.retention
import system.tournament_service
import system.user_service  # noqa: F401
