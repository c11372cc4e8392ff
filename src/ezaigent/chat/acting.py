"""Sentences that change something: the queue, a task, who works, how many there are."""

from __future__ import annotations

from typing import Final

from ezaigent.chat.commands import Approve, Cancel, Clear, Command, Drain, Pause, Resume, Retry, Scale, Steer
from ezaigent.chat.known import Spelling
from ezaigent.chat.slots import number, whom
from ezaigent.chat.templates import Make, Match, always, templates


def _steer(kind: type[Steer]) -> Make:
    def make(match: Match, spelling: Spelling) -> Command | None:
        found = whom(match["whom"], spelling)
        return kind(targets=found.targets, excepted=found.excepted) if found else None

    return make


def _spared(match: Match, spelling: Spelling) -> Command | None:
    found, spared = whom(match["whom"], spelling), whom(match["spared"], spelling)
    if found is None or spared is None or found.excepted or spared.excepted:
        return None
    return Pause(targets=found.targets, excepted=spared.targets)


def _all_but(match: Match, spelling: Spelling) -> Command | None:
    found = whom(match["whom"], spelling)
    return Pause(excepted=found.targets) if found and not found.excepted else None


def _of_task(kind: type[Cancel | Retry | Approve]) -> Make:
    return lambda match, _: kind(task=match["task"].casefold())


def _by(sign: int) -> Make:
    def make(match: Match, spelling: Spelling) -> Command | None:
        pool = spelling.profile(match["pool"])
        found = match.groupdict().get("count")
        count = number(found) if found else 1
        return Scale(pool=pool, by=sign * count) if pool and count else None

    return make


def _to(match: Match, spelling: Spelling) -> Command | None:
    pool = spelling.profile(match["pool"])
    found = match.groupdict().get("count")
    count = number(found) if found else 0
    return Scale(pool=pool, to=count) if pool and count is not None else None


_FINISHING: Final = r"finish (?:{its})?\s*(?:and|but|,)?(?: then)? ?{rest}"

QUEUE: Final = templates(
    always(Clear()),
    r"{empty} {queue}",
    r"{empty} (?:everything|all(?: the)? tasks|all)(?:(?: that)?(?: is|'s))? (?:in|from|on) {queue}",
    r"{empty} (?:everything|all tasks|all)(?: that(?: is|'s| are))? (?:queued|waiting|pending)",
    r"{empty} (?:every|all|each)(?: of)?(?: the)?(?: (?:queued|waiting|pending|open))+ (?:tasks?|jobs?|work)",
)
TASK: Final = (
    *templates(
        _of_task(Cancel),
        r"{end} {task}",
        r"(?:get rid of|drop|stop work(?:ing)? on|throw away|call off|abandon) {task}",
        r"{task} {shall} be (?:cancelled|canceled|aborted|stopped|dropped)",
    ),
    *templates(
        _of_task(Retry),
        r"(?:retry|rerun|re-run|redo|restart|repeat|requeue) {task}(?: once more)?",
        r"(?:try|run|start|queue|do) {task}(?: (?:again|once more|anew|one more time|another time))?",
        r"give {task} another (?:go|try|chance|attempt)",
        r"have another (?:go|try) at {task}",
        r"{task} (?:once more|one more time|anew)",
    ),
    *templates(
        _of_task(Approve),
        r"(?:approve|accept|ok|okay|lgtm|sign off(?: on)?) {task}",
        r"{task}(?: is| looks?)? (?:approved|accepted|ok|okay|good|good to me|great|fine|lgtm)",
        r"(?:approved|accepted|lgtm)[:,]? {task}",
    ),
)
AGENTS: Final = (
    *templates(
        _steer(Drain), rf"(?:let|make) {{whom}} {_FINISHING}", rf"{{whom}} {{shall}} {_FINISHING}", r"drain {whom}"
    ),
    *templates(
        _all_but,
        r"{stop} (?:all|everything|everyone|everybody)[,:]? (?:only|just) {whom}"
        r" (?:keeps?|continues?|goes|go|may|can|stays?)(?: (?:on|working|running|going|work|run|continue|go))*",
    ),
    *templates(
        _steer(Pause),
        r"{stop} {whom}",
        r"{whom} {shall}? ?{stop}",
        r"{whom}[,:]? {shall}? ?(?:{stop}|hold on|take a break|take five|wait|rest)",
        r"{whom} (?:needs?|gets?|has|have) (?:a )?(?:break|pause|rest)",
        r"(?:hold on|take a break|take five),? {whom}",
        r"(?:put )?{whom} (?:on (?:hold|pause|ice)|to sleep)",
        r"(?:tell|ask|get|have|let|make) {whom} (?:to )?(?:{stop}|take a break|rest|wait)",
    ),
    *templates(_spared, r"{stop} {whom},? (?:but|and) (?:leave out|spare|skip) (?P<spared>[^:]+)"),
    *templates(always(Pause()), r"(?:pause|stop|halt)"),
    *templates(
        _steer(Resume),
        r"{go} {whom}",
        r"(?:let|have|tell|ask|allow|get|send) {whom} (?:to )?(?:{go}|{on}|work|run|going)",
        r"{whom} {shall}? ?(?:resume|continue|{on})",
        r"(?:{on}|start working(?: again)?) {whom}",
    ),
    *templates(always(Resume()), r"(?:resume|continue|unpause|go on|carry on|(?:the )?break(?:'s| is) over)"),
)
POOLS: Final = (
    *templates(
        _by(+1),
        r"{add} {count}(?: {more})* {pool}",
        r"{count} {more} {pool}",
        r"(?:bring in|plus|(?:we )?could use) {count}(?: {more})* {pool}",
        r"(?:add|start|launch|hire) (?:one )?(?:more|another) {pool}",
        r"(?:scale|grow) {pool}(?: up)? by {count}",
        r"(?:scale up|grow) {pool}",
    ),
    *templates(
        _by(-1),
        r"{away} {count}(?: of)?(?: the)? {pool}",
        r"{count} {pool} (?:less|fewer)",
        r"{count} (?:less|fewer) {pool}",
        r"(?:scale|shrink) {pool} down by {count}",
        r"shrink {pool} by {count}",
    ),
    *templates(
        _to,
        r"(?:scale|set|grow|shrink|resize|reduce|increase|bring)(?: up| down)? {pool}(?: up| down)? to"
        r" {count}(?: agents?)?",
        r"(?:run|have|use|keep|make it|(?:i|we) (?:want|need)|there should be) (?:exactly )?{count} {pool}",
        r"{pool} to {count}(?: agents?)?",
        r"{count} {pool}",
        r"(?:size|keep|hold) {pool} (?:at|to) {count}",
        r"no more {pool}",
        r"(?:get rid of|remove|dismiss) (?:all|every) (?:the )?{pool}",
    ),
)

ACTING: Final = (*QUEUE, *TASK, *AGENTS, *POOLS)
"""All of them, in the order in which they are tried."""
