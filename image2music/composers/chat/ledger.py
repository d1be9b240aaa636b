"""The ledger of an output's requests: answers, tokens and money, so that a killed job pays for nothing twice.

One SQLite file for all worker processes of a machine, and for all runs into one output. An answer stands in it from the
moment that it was read; whoever asks the same again gets it from here. Before a request is sent its price is reserved,
and the reservation goes when the request ends or its process does. Each call is one short transaction, so that a killed
process leaves the file whole.

Requests that go out together wait in `outbox`; what `batches` does with them stands in `sent` (a request in the batch
that it went out with, "" where that has ended; a reason where it came to nothing for good) and `submissions` (batches).
`connect` is for who writes and reads these.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import astuple, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from image2music.errors import ConfigError, ModelError, OutputError, PutOffError
from image2music.failures import counted
from image2music.storage.datasets import is_gone

_SCHEMA = """
begin immediate;
create table if not exists answers (key text primary key, step text not null, answer text not null);
create table if not exists spent (
    step text primary key,
    requests integer not null default 0,
    from_ledger integer not null default 0,
    cut integer not null default 0,
    lost integer not null default 0,
    input_tokens integer not null default 0,
    cached_tokens integer not null default 0,
    output_tokens integer not null default 0,
    cost real not null default 0,
    dearest real not null default 0
);
create table if not exists reservations (
    id integer primary key,
    key text not null,
    step text not null,
    cost real not null,
    host text not null,
    pid integer not null,
    started text not null,
    at real not null
);
create table if not exists outbox (key text primary key, step text not null, body text not null);
create table if not exists sent (
    key text primary key,
    step text not null,
    batch text not null,
    line integer not null,
    cost real not null,
    tries integer not null default 0,
    reason text not null default '',
    message text not null default ''
);
create table if not exists submissions (
    name text primary key,
    server text not null,
    id text not null default '',
    file text not null default '',
    state text not null default 'begun',
    requests integer not null
);
create table if not exists notes (name text primary key, note text not null);
commit;
"""

BUSY_S = 60.0
"""How long a process waits for its turn to write."""

RESERVED_S = 7200.0
"""When a reservation of another machine, whose processes nobody here can see, counts no more."""

SPENT = (
    "select (select coalesce(sum(cost), 0) from spent) + (select coalesce(sum(cost), 0) from sent where batch != '')"
)
"""What was paid, and what requests in batches are thought to cost: nobody waits a day for these."""

_LOOK_S = 0.2


@dataclass(frozen=True)
class Usage:
    """Tokens of one answer: those of the prompt, of these the ones that the server had in its cache, and its own."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0

    def cost(self, price: tuple[float, float] | None) -> float:
        """Return its price, where a million tokens cost `price` in and out; 0 where no price is known."""
        return 0.0 if price is None else (self.input_tokens * price[0] + self.output_tokens * price[1]) / 1e6


@dataclass(frozen=True)
class Totals:
    """What requests came to.

    Attributes:
        requests: those that were answered, and so are paid. from_ledger: answers that were there already. cut: answers
        that ended in the middle, and were asked for again with more room. lost: requests that were under way when
        their process was killed; whether they are paid only the server knows. cost: in the unit of the price.
    """

    requests: int = 0
    from_ledger: int = 0
    cut: int = 0
    lost: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0

    def since(self, earlier: Totals) -> Totals:
        """Return what came to it after an earlier count."""
        return Totals(*(now - then for now, then in zip(astuple(self), astuple(earlier), strict=True)))


@dataclass(frozen=True)
class Spending:
    """The totals of all requests, and of those for each step."""

    all: Totals = Totals()
    steps: Mapping[str, Totals] = field(default_factory=dict)

    def since(self, earlier: Spending) -> Spending:
        """Return what came to it after an earlier count."""
        steps = {step: totals.since(earlier.steps.get(step, Totals())) for step, totals in self.steps.items()}
        return Spending(
            self.all.since(earlier.all), {step: totals for step, totals in steps.items() if totals != Totals()}
        )


_COLUMNS = ", ".join(entry.name for entry in fields(Totals))


class Ledger:
    """The ledger at `path`, made when it is first used; with "" one in memory, for this process alone.

    Attributes:
        path: its file. price: of a million tokens in and out. max_cost: what all requests may come to; a request is
        reserved as long as what was spent, and what those under way are thought to cost, lies below it.

    Every method raises OutputError (`ledger_not_usable`) where the file cannot be read or written.
    """

    def __init__(self, path: str = "", price: tuple[float, float] | None = None, max_cost: float | None = None) -> None:
        if max_cost is not None and price is None:
            raise ConfigError("a bound of money needs a price", reason="bad_max_cost")
        self.path, self.price, self.max_cost = path, price, max_cost
        self._memory: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    @contextmanager
    def connect(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection inside one transaction, which is written when the block ends well, and undone else."""
        try:
            with self._connection() as connection:
                connection.execute("begin immediate")
                try:
                    yield connection
                    connection.execute("commit")
                except BaseException:
                    with suppress(sqlite3.Error):  # where the disk is full, SQLite has undone it already
                        connection.execute("rollback")
                    raise
        except (sqlite3.Error, OSError) as error:
            message = f"cannot write the ledger {self.path or 'in memory'}: {error}; mend that, and run again"
            raise OutputError(message, reason="ledger_not_usable") from error

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Open the file anew, which takes a fraction of a millisecond: connections go into no thread and no copy."""
        if self.path:
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            with closing(_opened(self.path)) as connection:
                yield connection
            return
        with self._lock:
            if self._memory is None:
                self._memory = _opened(":memory:")
            yield self._memory

    def __del__(self) -> None:
        memory: sqlite3.Connection | None = getattr(self, "_memory", None)
        if memory is not None:
            memory.close()

    def answer(self, key: str, *, counted: bool = True) -> str | None:
        """Return the answer to a request, and count it as taken from here; None where there is none."""
        with self.connect() as connection:
            found = connection.execute("select step, answer from answers where key = ?", (key,)).fetchone()
            if found is not None and counted:
                _add(connection, found[0], {"from_ledger": 1})
        return None if found is None else str(found[1])

    def reserve(self, key: str, step: str, expected_cost: float, pause: Callable[[float], None] = time.sleep) -> None:
        """Reserve the price of a request that is about to be sent.

        Requests under way count with the dearest answer to their step so far, before the first one with
        `expected_cost`. Where they alone stand in the way, wait with `pause` until they have ended.

        Raises:
            PutOffError: what was spent reaches `max_cost` (`max_cost`). And whatever `pause` raises.
        """
        while not self._reserved(key, step, expected_cost):
            pause(_LOOK_S)

    def _reserved(self, key: str, step: str, expected_cost: float) -> bool:
        me = _this_process(os.getpid())
        with self.connect() as connection:
            self._drop_dead(connection)
            if self.max_cost is not None:
                spent = _number(connection, SPENT)
                if spent >= self.max_cost:
                    message = (
                        f"{spent:.2f} of the {self.max_cost:g} that requests may cost are spent; "
                        "the same command with a higher bound goes on"
                    )
                    raise PutOffError(message, reason="max_cost")
                under_way = _number(
                    connection,
                    "select sum(case when dearest > 0 then dearest else reservations.cost end)"
                    " from reservations left join spent using (step)",
                )
                if under_way and spent + under_way >= self.max_cost:
                    return False
            connection.execute(
                "insert into reservations (key, step, cost, host, pid, started, at) values (?, ?, ?, ?, ?, ?, ?)",
                (key, step, expected_cost, *me, time.time()),
            )
        return True

    def _drop_dead(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute("select id, step, host, pid, started, at from reservations").fetchall()
        for id, step, host, pid, started, at in rows:
            if _has_ended(host, pid, started) or time.time() - at > RESERVED_S:
                connection.execute("delete from reservations where id = ?", (id,))
                _add(connection, step, {"lost": 1})

    def keep(self, key: str, step: str, answer: str, usage: Usage, *, share: float = 1.0, cut: bool = False) -> None:
        """Keep an answer that was paid for with a share of the price, and drop its reservation."""
        with self.connect() as connection:
            connection.execute("insert or replace into answers values (?, ?, ?)", (key, step, answer))
            self._charge(connection, step, usage, share)
            _add(connection, step, {"cut": int(cut)})
            _release(connection, key)

    def charge(self, step: str, usage: Usage, *, share: float = 1.0) -> None:
        """Count an answer that was paid for with a share of the price, but is of no use."""
        with self.connect() as connection:
            self._charge(connection, step, usage, share)

    def _charge(self, connection: sqlite3.Connection, step: str, usage: Usage, share: float) -> None:
        whole = usage.cost(self.price)
        tokens = {entry.name: getattr(usage, entry.name) for entry in fields(usage)}
        _add(connection, step, {"requests": 1, **tokens, "cost": share * whole})
        connection.execute("update spent set dearest = max(dearest, ?) where step = ?", (whole, step))

    def release(self, key: str) -> None:
        """Drop the reservation of a request that came to nothing; nothing happens where there is none."""
        with self.connect() as connection:
            _release(connection, key)

    def put_off(self, key: str, step: str, body: str) -> NoReturn:
        """Put a request into the outbox, unless it is in a batch already.

        Raises:
            PutOffError: always (`batch`), but for a request that came to nothing: ModelError, with its own reason.
        """
        with self.connect() as connection:
            found = connection.execute("select batch, reason, message from sent where key = ?", (key,)).fetchone()
            batch, reason, message = found or ("", "", "")
            if not batch and not reason:
                connection.execute("insert or replace into outbox values (?, ?, ?)", (key, step, body))
        if reason:
            raise ModelError(message, reason=reason)
        raise PutOffError("its request goes out with others, in a batch", reason="batch")

    def note(self, name: str, note: str) -> None:
        """Keep a few words by a name, in place of what was kept by it."""
        with self.connect() as connection:
            connection.execute("insert or replace into notes values (?, ?)", (name, note))

    def noted(self, name: str) -> str | None:
        """Return what was kept by a name; None where nothing was."""
        with self.connect() as connection:
            found = connection.execute("select note from notes where name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def forget_answers(self, keys: Sequence[str] | None = None) -> None:
        """Forget some answers, or all: whoever asks again gets a new one. The totals stay."""
        with self.connect() as connection:
            if keys is None:
                connection.execute("delete from answers")
            else:
                connection.executemany("delete from answers where key = ?", [(key,) for key in keys])

    def forget_failures(self) -> None:
        """Forget what came to nothing in batches, and what was put off; what is in one stays."""
        with self.connect() as connection:
            connection.execute("delete from sent where batch = ''")
            connection.execute("delete from outbox where key not in (select key from sent)")
            connection.execute("delete from submissions where state = 'crowded'")

    def totals(self) -> Spending:
        """Return what all requests came to so far, in all runs."""
        with self.connect() as connection:
            self._drop_dead(connection)
            rows = connection.execute(f"select step, {_COLUMNS} from spent order by step").fetchall()
        steps = {step: Totals(*numbers) for step, *numbers in rows}
        columns = zip(*(astuple(totals) for totals in steps.values()), strict=True)
        return Spending(Totals(*(sum(column) for column in columns)), steps)


def spending_line(spent: Totals) -> str:
    """Return `120 requests answered, 4 more from the ledger, 90,000 tokens in (12,000 cached), 40,000 out, 1.23`."""
    parts = [
        counted(spent.requests, "request answered", "requests answered"),
        f"{spent.from_ledger:,} more from the ledger" if spent.from_ledger else "",
        f"{spent.cut:,} of them cut and asked again" if spent.cut else "",
        f"{spent.lost:,} lost under way" if spent.lost else "",
        f"{spent.input_tokens:,} tokens in ({spent.cached_tokens:,} cached), {spent.output_tokens:,} out",
        f"${spent.cost:,.2f}" if spent.cost else "",
    ]
    return ", ".join(filter(None, parts))


def read_spending(path: str) -> Spending:
    """Return the totals of the ledger at a place; where there is none, none is made.

    Raises:
        OutputError: it cannot be read (`ledger_not_usable`).
    """
    return Ledger(path).totals() if os.path.exists(path) else Spending()


def _opened(place: str) -> sqlite3.Connection:
    connection = sqlite3.connect(place, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        if not connection.execute("select count(*) from sqlite_schema").fetchone()[0]:
            connection.execute("pragma auto_vacuum = full")  # forgotten answers give their room back
            connection.executescript(_SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


def _add(connection: sqlite3.Connection, step: str, numbers: Mapping[str, float]) -> None:
    connection.execute("insert or ignore into spent (step) values (?)", (step,))
    changes = ", ".join(f"{name} = {name} + ?" for name in numbers)
    connection.execute(f"update spent set {changes} where step = ?", (*numbers.values(), step))


def _release(connection: sqlite3.Connection, key: str) -> None:
    connection.execute(
        "delete from reservations where key = ? and host = ? and pid = ? and started = ?",
        (key, *_this_process(os.getpid())),
    )


def _number(connection: sqlite3.Connection, query: str) -> float:
    return float(connection.execute(query).fetchone()[0] or 0.0)


@cache
def _this_process(pid: int) -> tuple[str, int, str]:
    """Return host, number and start of this process, which together no other process has."""
    return platform.node(), pid, _started(pid)


def _has_ended(host: str, pid: int, started: str) -> bool:
    process: dict[str, Any] = {"host": host, "pid": pid}
    return is_gone(process) or (host == platform.node() and _started(pid) != started)


def _started(pid: int) -> str:
    """Return when a process was started, in ticks since the system was; "" where no system says so."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]
