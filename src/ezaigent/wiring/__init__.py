"""The only place that reads settings, picks adapters and builds services."""

from ezaigent.wiring.alone import require_ready, somebody_works, until_nobody_works, work_alone
from ezaigent.wiring.conversing import open_chat
from ezaigent.wiring.doctor import Finding, examine
from ezaigent.wiring.handle import ENDINGS, Fleet, TaskHandle
from ezaigent.wiring.hooking import sending, webhooks
from ezaigent.wiring.notifying import notifying
from ezaigent.wiring.planning import draft, submit_plan
from ezaigent.wiring.scaling import scaled_pools, scaler_control, scaling, scaling_beside
from ezaigent.wiring.services import Services, open_conductor, open_services, open_worker, pools
from ezaigent.wiring.serving import accounts, serve_api, serve_tools
from ezaigent.wiring.settings import load_settings

__all__ = [
    "ENDINGS",
    "Finding",
    "Fleet",
    "Services",
    "TaskHandle",
    "accounts",
    "draft",
    "examine",
    "load_settings",
    "notifying",
    "open_chat",
    "open_conductor",
    "open_services",
    "open_worker",
    "pools",
    "require_ready",
    "scaled_pools",
    "scaler_control",
    "scaling",
    "scaling_beside",
    "sending",
    "serve_api",
    "serve_tools",
    "somebody_works",
    "submit_plan",
    "until_nobody_works",
    "webhooks",
    "work_alone",
]
