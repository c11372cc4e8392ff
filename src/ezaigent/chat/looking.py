"""Sentences that only want to see something."""

from __future__ import annotations

from typing import Final

from ezaigent.chat.commands import (
    Agents,
    Command,
    Cost,
    Help,
    ListTasks,
    Queue,
    ShowTask,
    Status,
    Why,
)
from ezaigent.chat.known import Spelling
from ezaigent.chat.slots import period, whom
from ezaigent.chat.templates import Make, Match, Template, always, templates


def _of_task(kind: type[ShowTask | Why]) -> Make:
    return lambda match, _: kind(task=match["task"].casefold())


def _cost(match: Match, spelling: Spelling) -> Command | None:
    del spelling
    span = period(match["period"])
    return Cost(period=span) if span else None


def _states(state: str, words: str, *texts: str) -> tuple[Template, ...]:
    made = always(ListTasks.model_validate({"states": (state,)}))
    return templates(made, *(text.replace("{state}", f"(?:{words})") for text in texts))


def _agents(match: Match, spelling: Spelling) -> Command | None:
    return Agents() if whom(match["whom"], spelling) else None


_WHOLE: Final = r"(?:the |our )?(?:fleet|team|we|things|everything|everyone|it)(?: (?:doing|going|looking))?"
_ADJECTIVE: Final = (r"(?:{show} )?(?:the )?{state} tasks", r"(?:what|which tasks?|what tasks)(?: is| are|'s)? {state}")

STATUS: Final = templates(
    always(Status()),
    r"(?:{show} )?(?:current |fleet )?(?:status|overview|summary)(?: (?:update|report|overview))?",
    rf"how(?: is| are|'s) {_WHOLE}",
    r"(?:what(?:'s| is)|anything|is anything) (?:going on|happening|up|new)(?: (?:here|in the fleet))?",
    r"what(?:'s| is| are) (?:everyone|everybody|they|the agents|the fleet|the team)(?: all)?"
    r" (?:doing|up to|working on)",
    r"(?:sitrep|where (?:do|are) we(?: stand| at)?|catch me up|fill me in|bring me up to date)",
    r"(?:is )?(?:all|everything) (?:good|ok|okay|fine|well)(?: (?:over )?there)?",
    r"(?:a |any )?(?:quick |short )?(?:updates?|news|report)"
    r"(?: (?:on|about|of|from) (?:the |our )?(?:fleet|team|agents))?",
)
QUEUE: Final = templates(
    always(Queue()),
    r"(?:{show} )?(?:the )?(?:queue|backlog)(?: (?:depth|length|size|stats|statistics|status))?",
    r"how (?:deep|long|big|full|large) is {queue}",
    r"(?:is|are) {queue} (?:empty|full|long|deep|big)",
    r"how (?:many|much) (?:tasks?|work|jobs?)(?: (?:is|are))?(?: (?:still|left|there))*"
    r" (?:queued|waiting|pending|open|left|in the queue)",
    r"what(?:'s|s| is)(?: (?:left|still|waiting|queued))* (?:in|on) {queue}",
    r"(?:how many|number of|count of|count) (?:the )?(?:tasks?|jobs?)(?: (?:are|is))?"
    r" (?:lined up|in line|in {queue}|to do|to be done|ahead)",
    r"are we (?:falling behind|behind|keeping up|on top of things)",
    r"(?:what(?:'s|s| is)|is (?:there )?anything|anything|something) (?:still )?(?:queued|waiting|pending|lined up)"
    r"(?: (?:rn|there))?",
)
AGENTS: Final = templates(
    always(Agents()),
    r"(?:{show} )?(?:all )?(?:the )?(?:agents?|team|crew|roster)",
    r"(?:who|which agents?)(?:'s| is| are)"
    r" (?:working|idle|busy|online|active|paused|running|free|there|offline|available)",
    r"(?:what|which) agents?(?: (?:are there|do we have|exist|are there now))?",
    r"who(?:'s| is|'ve we got| have we(?: got)?| do we have) ?(?:there|here|around|today|now)?",
    r"(?:is |are )?(?:any ?one|any ?body|some ?one|any|any of the)(?: agents?)?"
    r" (?:working|idle|busy|online|active|paused|running|free|there|offline|available)",
    r"how many (?:agents?|of us|workers?)(?: (?:are|do we have|have we))?"
    r"(?: (?:there|running|working|idle|busy|online|paused))?",
)
AGENTS_BY_NAME: Final = templates(_agents, r"{show} {whom}")
TASK: Final = (
    *templates(
        _of_task(ShowTask),
        r"{task}",
        r"(?:{show}|open|details?(?: (?:of|on|about|for))?|status of|what about|how about) {task}",
        r"(?:give|show|tell) (?:me |us )?(?:the |some |more )?(?:details?|status|state|news)"
        r" (?:of|on|about|for) {task}",
        r"how(?: is|'s| far is| far along is) {task}(?: (?:going|doing|coming along|now))?",
        r"what(?:'s| is) (?:happening|going on|the (?:status|state)|up|new) (?:with|of|on|in) {task}",
        r"(?:any|what) (?:news|progress|updates?)(?: (?:on|about|of|from|with|for))? {task}",
        r"where(?: is|'s) {task}(?: (?:at|now))?",
        r"is {task} (?:done|ready|finished|running|there|through|ok|queued)(?: (?:yet|already|now))?",
        r"has {task} (?:finished|ended|started|begun|run)(?: (?:yet|already|now))?",
    ),
    *templates(
        _of_task(Why),
        r"why (?:is|isn't|is not|does|doesn't|did|didn't|has|hasn't|was|wasn't|won't) {task}\b.*",
        r"what (?:is|does|'s) {task} (?:waiting|wait) for",
        r"what(?:'s| is) wrong with {task}",
        r"why {task}",
    ),
)
TASKS: Final = (
    *templates(
        always(ListTasks()),
        r"(?:{show} |what |which )?(?:all )?(?:the )?(?:newest |latest |recent )?tasks(?: are there| do we have)?",
    ),
    *_states(
        "failed",
        r"failed|failures?|failing|broken|dead",
        r"(?:{show} )?(?:{state} tasks|failures)",
        r"(?:what|which tasks?)(?: have| has| are| is)? {state}",
        r"any (?:{state}|failed tasks)",
        r"what (?:went wrong|is broken|broke)(?: today)?",
        r"{show} (?:everything|tasks|what|whatever)(?: that)?(?: has| have)? {state}",
    ),
    *_states(
        "review",
        r"in review|ready for review|to review|for review|reviewable",
        r"(?:{show} )?(?:tasks |changes |what is )?{state}",
        r"(?:what|which (?:tasks?|changes?))(?: are| is|'s)? {state}",
        r"(?:what|which (?:changes|tasks)) can i (?:review|look at|merge|approve|see)",
        r"(?:is )?(?:there )?anything {state}",
        r"what(?: is|'s) ready",
    ),
    *_states("running", r"running|in progress|being worked on|ongoing", *_ADJECTIVE, r"{show} tasks {state}"),
    *_states("done", r"done|finished|completed", *_ADJECTIVE),
    *_states("blocked", r"blocked", *_ADJECTIVE),
)
COST: Final = (
    *templates(always(Cost(period="all")), r"(?:{show} )?(?:the |our )*total {bill}(?: so far)?"),
    *templates(
        always(Cost()),
        r"(?:{show} )?(?:the |our )*{bill}",
        r"what (?:does|did|has|will) (?:it|this|that|the fleet|all this)(?: all)? costs?",
        r"(?:how much|what)(?: money)?(?: (?:did|have|do|has|does))? {us}(?: (?:all|have))? {spent}(?: money)?",
        r"what(?:'s| is| was) (?:the|our) {bill}",
        r"(?:what(?:'s| is) the damage|show me the money|what are we (?:paying|spending))",
        r"how much(?: is it)?(?: so far)?",
    ),
    *templates(
        _cost,
        r"(?:{show} )?(?:the |our )*{bill}(?: (?:of|for|in|on))?(?: the)? {period}",
        r"(?:{show} )?(?:the |our )*{period} {bill}",
        r"how much(?: (?:for|in|is it))? {period}",
        r"(?:how much|what)(?: money)?(?: (?:did|have|do|has|does))? {us}(?: (?:all|have))? {spent}(?: money)?"
        r"(?: (?:in|over|during|for))? {period}",
        r"(?:how much|what) (?:did|does|has|was|were)(?: the)? {period} costs?(?: us)?",
        r"how (?:expensive|costly) (?:is|was|were) {period}",
        r"what(?:'s| is| was) (?:the|our) {bill}(?: (?:of|for|in))? {period}",
    ),
)
HELP: Final = templates(
    always(Help()),
    r"(?:help|help me|\?|commands|manual)",
    r"(?:what|which)(?: things)? (?:can|could) (?:i|you|we) (?:say|do|ask|type|write)(?: here)?",
    r"(?:{show} |what |which )(?:are )?(?:the )?commands(?: are there| do you know| exist)?",
    r"how (?:does (?:this|it) work|(?:do|can) i (?:use|talk to|speak to|work with) (?:this|it|you|the fleet))",
    r"(?:i'?m|i am) (?:lost|stuck|new here)",
)

LOOKING: Final = (*STATUS, *QUEUE, *AGENTS, *TASK, *TASKS, *AGENTS_BY_NAME, *COST, *HELP)
"""All of them, in the order in which they are tried."""
