"""The fleet-wide provider governor: one quota per account and model, shared by all workers through the live bus.

Its parts: ``gate`` (the port towards a model call), ``lane`` (the way to one model), ``permit`` (one request),
``accounts`` (keys), ``headers`` (what providers tell), ``state`` (what the fleet knows of a model), ``changes`` (how
each answer changes it), ``pace`` (how fast it allows to go),
``standing`` (whether to call at all), ``shared`` (the way of a change to everybody), ``turns`` (the queue).
"""

from ezaigent.agents.governor.accounts import Account, accounts_of
from ezaigent.agents.governor.gate import OPEN, Ask, Gate, Permit, Refused
from ezaigent.agents.governor.governor import Governor
from ezaigent.agents.governor.permit import LONG_WAIT
from ezaigent.agents.governor.shared import News

__all__ = ["LONG_WAIT", "OPEN", "Account", "Ask", "Gate", "Governor", "News", "Permit", "Refused", "accounts_of"]
