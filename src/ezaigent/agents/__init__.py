"""The room `agents`: profiles, one run's loop, models and failover, the journal, the tools.

``Runtime`` is all that the fleet knows of it; which library does the work stays inside.
"""

from ezaigent.agents.controls import Controls
from ezaigent.agents.interpreter import ModelInterpreter, open_interpreter
from ezaigent.agents.journal import Journal
from ezaigent.agents.models import Job, Outcome, Step
from ezaigent.agents.native import NativeRuntime, build_runtime
from ezaigent.agents.ports import Blocked, Runtime, Workplace
from ezaigent.agents.profiles import Profile, load_profiles
from ezaigent.agents.providers import keys_present, variables_of

__all__ = [
    "Blocked",
    "Controls",
    "Job",
    "Journal",
    "ModelInterpreter",
    "NativeRuntime",
    "Outcome",
    "Profile",
    "Runtime",
    "Step",
    "Workplace",
    "build_runtime",
    "keys_present",
    "load_profiles",
    "open_interpreter",
    "variables_of",
]
