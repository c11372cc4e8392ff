"""The process in which one suspected task runs alone: ``python -m ezaigent.wiring.apart``.

Its first line of input holds the settings, the second one the claim, each further one a lever to pull. When the input
ends, its worker is gone and so is the lease: it stops without another write.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import StreamReader, StreamReaderProtocol
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, TypeAlias

import orjson
from pydantic import SecretStr

from ezaigent.agents import Controls
from ezaigent.core.settings import Settings
from ezaigent.fleet import Conductor, watch
from ezaigent.tasks import Claim
from ezaigent.wiring.services import Services, open_conductor, open_services

COMMAND: Final = (sys.executable, "-m", "ezaigent.wiring.apart")
Conducting: TypeAlias = Callable[[Services], AbstractAsyncContextManager[Conductor]]
"""Opens what carries claims through their runs."""
_LINE: Final = 64 * 1024**2


def order(settings: Settings) -> bytes:
    """Return the settings as one line that only the process itself may read: the keys are in it."""
    return orjson.dumps(_plain(settings.model_dump()))


def _plain(value: Any) -> Any:
    match value:
        case SecretStr():
            return value.get_secret_value()
        case Path():
            return str(value)
        case dict():
            return {str(name): _plain(one) for name, one in value.items()}  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        case list() | tuple():
            return [_plain(one) for one in value]  # pyright: ignore[reportUnknownVariableType]
        case _:
            return value


async def work(conducting: Conducting = open_conductor) -> None:
    """Conduct the claim that the input names."""
    reader = StreamReader(limit=_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: StreamReaderProtocol(reader), sys.stdin)
    given, claimed = await reader.readline(), await reader.readline()
    if not claimed:  # its worker is gone already
        return
    settings = Settings.model_validate(orjson.loads(given))
    claim = Claim.model_validate(orjson.loads(claimed))
    controls = Controls()
    async with open_services(settings) as services, conducting(services) as conductor:
        runs = {claim.run_id: controls}
        beside = [
            asyncio.create_task(_obey(reader, controls)),
            asyncio.create_task(watch(lambda: runs, settings.recovery, settings.sandbox.timeout)),
        ]
        try:
            await conductor.conduct(claim, controls)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.wait(beside)


async def _obey(reader: StreamReader, controls: Controls) -> None:
    while line := await reader.readline():
        match line.strip():
            case b"pause":
                controls.pause()
            case b"resume":
                controls.resume()
            case b"cancel":
                controls.cancel()
            case b"drain":
                controls.drain()
            case b"drain now":
                controls.drain(now=True)
            case _:
                controls.lose()
    controls.lose("its worker is gone")


if __name__ == "__main__":
    asyncio.run(work())
