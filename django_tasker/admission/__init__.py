"""Which new tasks may start now: exact under any number of workers, in queue order, at a flat cost.

**Gate.** A pass that starts tasks with conditions holds the gate alone, so that nothing it has counted changes but by
tasks that end. A pass over tasks without conditions shares the gate with its like. Adding a task takes no part in it.

**Lanes.** `Task.lane` is a hash of a task's resolved conditions. What is refused once in a pass is refused for the
whole lane: during a pass running tasks only get more, and of the tasks ahead none is decided twice.

**Streams.** Every new task is in one, named by `Task.hold`: the front (where inserts land), the later one (until
`run_at`), or the stream of a reason that refused it. A hold moves a row out of the way and decides nothing: each
pass finds out from the rows which reasons still refuse, skips those streams whole, and merges the others with the
front in queue order. So no wake-up rule can be forgotten: end, abort, edit, delete and crash need only another pass.

**Keys.** Conditions that look at the queue count the tasks ahead: what a pass has read of the front is in memory, what
waits in streams is found by keys, hashes of the values that such conditions ask for by equality.

`passes` holds the gate and claims, `walk` judges the queue in order, `sources` reads its streams, `counts` counts what
runs, `waiting` what waits ahead, `keys` finds it in streams, `streams` moves rows between streams,
`rows` and `facts` read them.
"""

from __future__ import annotations

from .passes import Admission, Claimant, PassResult

__all__ = ["Admission", "Claimant", "PassResult"]
