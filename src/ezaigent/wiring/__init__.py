"""The only place that reads settings, picks adapters and builds services."""

from ezaigent.wiring.alone import somebody_works, work_alone
from ezaigent.wiring.handle import ENDINGS, Fleet, TaskHandle
from ezaigent.wiring.services import Services, open_services, open_worker, pools
from ezaigent.wiring.settings import load_settings

__all__ = [
    "ENDINGS",
    "Fleet",
    "Services",
    "TaskHandle",
    "load_settings",
    "open_services",
    "open_worker",
    "pools",
    "somebody_works",
    "work_alone",
]
