"""The plans of chaos runs: the load, the processes, and the faults that they meet."""

from __future__ import annotations

from dataclasses import dataclass, replace

# The platform's timeout of a request in these runs, in seconds.
TIMEOUT_SECONDS = 2.0
# The time for which an outcome may wait for its batch, and a process on a busy machine for the CPU.
MARGIN_SECONDS = 1.0

# Faults that last for a moment, or until a process is started again.
EVERYDAY = (
    *("kill deliverer", "kill deliverer", "kill dispatcher", "kill beat"),
    *("flush broker", "restart broker", "restart database", "freeze"),
)
CLOCK_FAULTS = ("clock back", "clock forward")
LOCK_FAULTS = ("lock schedules", "lock pending rows", "lock finished rows", "lock small tables")


@dataclass(frozen=True, slots=True)
class ChaosPlan:
    """The size of a run: `rate` slots a second for `seconds` seconds, and a fault about every `pause` seconds.

    With a `pause` of 0 there are no faults. Each of `faults` comes once in each round, and each of `once` comes once.
    No fault begins in the last `calm` seconds, because late slots of a schedule that has ended are not sent. Frozen
    processes are frozen for `freeze` seconds.
    """

    rate: int = 200
    seconds: int = 180
    dispatchers: int = 3
    deliverers: int = 3
    beats: int = 2
    pause: float = 4.0
    freeze: float = 30.0
    calm: float = 3.0
    seed: int = 0
    faults: tuple[str, ...] = EVERYDAY
    once: tuple[str, ...] = CLOCK_FAULTS
    broker_half: bool = False
    """Whether Valkey is away for half of the time."""
    poisons: int = 0
    """The number of callbacks that kill the deliverer that sends them."""
    hosts_apart: float = 0.0
    """How far the clocks of some workers are ahead of the database's clock, and those of others behind, in seconds."""
    disk_megabytes: int = 0
    """The size of the file system under PostgreSQL's data, or 0 for the usual one."""

    @property
    def workers(self) -> list[str]:
        counts = {"dispatcher": self.dispatchers, "deliverer": self.deliverers, "beat": self.beats}
        return [f"{kind}.{number}" for kind, count in counts.items() for number in range(1, count + 1)]


_HARD = ChaosPlan(seconds=120, dispatchers=2, deliverers=2, beats=1, once=(), calm=12.0)

# The clocks do not differ by whole seconds, so that the ticks of hosts do not fall together.
_HOSTS_APART = 30.4

# The plan of the test suite: all faults that are over within seconds.
SHORT_PLAN = ChaosPlan(
    rate=50,
    seconds=26,
    dispatchers=2,
    deliverers=2,
    beats=2,
    pause=1.7,
    freeze=7.0,
    faults=(*EVERYDAY, *LOCK_FAULTS),
    broker_half=True,
    hosts_apart=_HOSTS_APART,
)

CHAOS_SCENARIOS = {
    "chaos": ChaosPlan(),
    "broker": replace(_HARD, broker_half=True, faults=("kill deliverer", "kill dispatcher", "kill beat"), pause=8.0),
    "locks": replace(_HARD, faults=LOCK_FAULTS, pause=2.0),
    "poison": replace(_HARD, poisons=5, faults=("kill dispatcher",), pause=20.0),
    "clocks": replace(_HARD, beats=2, hosts_apart=_HOSTS_APART, faults=("kill deliverer", "kill beat"), pause=15.0),
    "database": replace(_HARD, seconds=150, faults=("database away",), pause=70.0, calm=50.0),
    "connections": replace(_HARD, faults=("use up connections", "kill deliverer"), pause=12.0),
    "disk": replace(_HARD, disk_megabytes=300, faults=("fill disk",), pause=35.0, calm=25.0),
    "dispatcher": replace(
        _HARD, seconds=150, dispatchers=1, faults=("freeze dispatcher",), pause=55.0, freeze=40.0, calm=45.0
    ),
    "all": ChaosPlan(
        seconds=300,
        pause=5.0,
        calm=25.0,
        faults=(*EVERYDAY, *LOCK_FAULTS, "use up connections", "freeze dispatcher", "fill disk"),
        broker_half=True,
        poisons=3,
        hosts_apart=_HOSTS_APART,
        disk_megabytes=300,
    ),
}
