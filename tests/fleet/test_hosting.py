"""A worker adopts seats, makes them ready, lets them go, and takes them back."""

from __future__ import annotations

import pytest
from tests.fleet.scene import CHECK, Scene, Zygote, kinds
from tests.services import until

from ezaigent.core.errors import NotFoundError
from ezaigent.fleet import Seat, queries, seats
from ezaigent.store import Connection
from ezaigent.tasks import State
from ezaigent.testing import Fault, ModelServer
from ezaigent.wiring import Fleet


def hosting(scene: Scene, *, room: int | None = None) -> Fleet:
    """A fleet whose worker has nobody of its own."""
    return Fleet.embedded(settings=scene.settings, agents={}, hosts=("claude",), room=room)


async def order(fleet: Fleet, count: int, profile: str = "claude") -> list[str]:
    return await fleet.services.db.write(lambda conn: seats.order(conn, profile, count))


async def all_seats(fleet: Fleet) -> list[Seat]:
    return await fleet.services.db.read(seats.all_seats)


async def until_idle(fleet: Fleet, *names: str) -> None:
    async def idle() -> bool:
        return {view.name for view in await fleet.agents() if view.status == "idle"} == set(names)

    await until(idle, within=30, what=f"{names} are idle")


async def test_ordered_agents_find_a_worker_and_count_once_they_are_ready(scene: Scene) -> None:
    async with scene.client() as person:
        assert await order(person, 1) == ["claude-1"]
        assert [(view.name, view.status) for view in await person.agents()] == [("claude-1", "offline")]
        async with hosting(scene) as fleet:
            await until_idle(person, "claude-1")
            await order(person, 2)
            await until_idle(person, "claude-1", "claude-2", "claude-3")
            assert fleet.worker is not None
            assert all(seat.worker == fleet.worker.info.id and seat.ready_at for seat in await all_seats(person))
            handle = await person.submit("Write the log.", scene.repo, checks=(CHECK,))
            assert (await handle.settled(timeout=60)).state is State.REVIEW
        assert [(seat.worker, seat.ready_at) for seat in await all_seats(person)] == [(None, None)] * 3, (
            "who was ordered for the fleet waits for another worker"
        )


async def test_a_worker_takes_no_more_than_it_has_room_for(scene: Scene) -> None:
    async with scene.client() as person, hosting(scene, room=2) as fleet:
        await order(person, 3)
        await order(person, 1, "mechanic")
        await until_idle(person, "claude-1", "claude-2")
        assert fleet.worker is not None
        worker = fleet.worker
        await until(lambda: worker.info.free == 0, what="it knows that it is full")
        async with hosting(scene) as other:
            await until_idle(person, "claude-1", "claude-2", "claude-3")
            assert other.worker is not None
            more = other.worker
            await until(lambda: more.info.agents == ("claude-3",), what="the other one has the rest")
            assert more.info.free is None
        waiting = {seat.agent for seat in await all_seats(person) if seat.worker is None}
        assert waiting == {"claude-3", "mechanic-1"}


async def test_a_person_drains_an_agent_that_works_and_one_that_does_not(scene: Scene, server: ModelServer) -> None:
    server.fail(Fault("hang", step=1))
    async with scene.client() as person, scene.working({"claude": 2}):
        handle = await person.submit("Write the log.", scene.repo)
        await server.wait_until(lambda records: len(records) >= 2)
        working = (await handle.get()).agent
        assert sorted(await person.drain("claude", by="me")) == ["claude-1", "claude-2"]

        async def one_left() -> bool:
            return [(view.name, view.status) for view in await person.agents()] == [(working, "draining")]

        await until(one_left, what="the idle one has gone")
        (view,) = await person.agents()
        assert view.leaving == "drained by me"
        later = await person.submit("Write it again.", scene.repo)
        server.clear_faults()
        assert (await handle.settled(timeout=60)).state is State.REVIEW, "what it does, it finishes"

        async def nobody() -> bool:
            return await person.agents() == []

        await until(nobody, what="both have gone")
        assert (await later.get()).state is State.QUEUED
        events = await person.services.events.read(0, limit=1000)
        reasons = [event.data["reason"] for event in events if event.kind == "agent.left"]
        assert reasons == ["drained by me", "drained by me"]
        with pytest.raises(NotFoundError, match="there are: none"):
            await person.drain("claude-1", by="me")
        async with scene.working({"claude": 1}):
            assert (await later.settled(timeout=60)).state is State.REVIEW


async def test_an_agent_that_is_taken_back_while_it_works_goes_on(scene: Scene, server: ModelServer) -> None:
    server.fail(Fault("hang", step=1))
    async with scene.client() as person, hosting(scene) as fleet:
        await order(person, 1)
        handle = await person.submit("Write the log.", scene.repo)
        await server.wait_until(lambda records: len(records) >= 2)
        db = person.services.db
        await db.write(lambda conn: seats.leave(conn, ["claude-1"], "less work", recallable=True))
        assert fleet.worker is not None
        worker = fleet.worker
        hosted = worker._hosting  # pyright: ignore[reportPrivateUsage]
        await until(lambda: not hosted.slots, what="it takes no further task")
        assert await db.write(lambda conn: seats.recall(conn, ["claude-1"])) == ["claude-1"]
        await until(lambda: hosted.slots, what="it stays")
        server.clear_faults()
        assert (await handle.settled(timeout=60)).state is State.REVIEW
        again = await person.submit("Write it again.", scene.repo)
        assert (await again.settled(timeout=60)).agent == "claude-1"
        assert "agent.recalled" in kinds(await person.services.events.read(0, limit=1000))


async def test_a_worker_that_stops_hands_its_idle_agents_on_before_it_has_ended(
    scene: Scene, server: ModelServer
) -> None:
    server.fail(Fault("hang", step=1))
    async with scene.client() as person, hosting(scene, room=2) as first:
        await order(person, 3)
        handle = await person.submit("Write the log.", scene.repo)
        await server.wait_until(lambda records: len(records) >= 2)
        views = {view.name: view.status for view in await person.agents()}
        assert sorted(views.values()) == ["active", "idle", "starting"]
        assert first.worker is not None
        worker = first.worker
        worker.stop()
        await until(lambda: worker.info.hosts == (), what="it takes no more")
        assert worker.info.free == 0
        async with hosting(scene) as second:
            assert second.worker is not None
            other = second.worker
            await until(lambda: len(other.info.agents) == 2, what="the idle ones have a new worker")
            server.clear_faults()
            assert (await handle.settled(timeout=60)).state is State.REVIEW
            await first.join()
            await until(lambda: len(other.info.agents) == 3, what="and then the busy one")


async def test_the_agent_that_worked_last_works_next(scene: Scene) -> None:
    async with scene.working({"claude": 3}) as fleet:
        first = await (await fleet.submit("Write the log.", scene.repo)).settled(timeout=60)
        for _ in range(2):
            task = await (await fleet.submit("Write the log.", scene.repo)).settled(timeout=60)
            assert task.agent == first.agent, "the others stay idle, so that they can go"


async def test_a_worker_that_was_counted_as_lost_comes_back_with_its_agents(scene: Scene) -> None:
    async with scene.client() as person, scene.working({"claude": 2}) as fleet:
        await order(person, 1)
        assert fleet.worker is not None
        own = fleet.worker.info.id

        def lose(conn: Connection) -> list[str]:
            return queries.lose(conn, [own], "it was mistaken for dead", by="a test")

        assert await person.services.db.write(lose) == [own]
        await until_idle(person, "claude-1", "claude-2")
        handle = await person.submit("Write the log.", scene.repo)
        assert (await handle.settled(timeout=60)).state is State.REVIEW
        events = await person.services.events.read(0, limit=1000)
        (lost,) = [event for event in events if event.kind == "worker.lost"]
        assert (lost.data["worker"], lost.data["reason"]) == (own, "it was mistaken for dead")
        assert [event.data["worker"] for event in events if event.kind == "worker.back"] == [own]


async def test_workers_in_other_processes_host_what_is_ordered(scene: Scene, workers: Zygote) -> None:
    async with scene.client() as person:
        await order(person, 3)
        first = workers.worker(scene, pools="claude", more=("--agents", "2"))
        await first.ready()
        await until_idle(person, "claude-1", "claude-2")
        second = workers.worker(scene, pools="claude", more=("--agents", "2"))
        await until_idle(person, "claude-1", "claude-2", "claude-3")
        assert {seat.pinned for seat in await all_seats(person)} == {False}
        assert len({seat.worker for seat in await all_seats(person)}) == 2
        del second
