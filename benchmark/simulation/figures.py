"""What a simulation comes to."""

from __future__ import annotations

from attrs import frozen

from benchmark.simulation.population import fewest_nodes
from benchmark.simulation.world import Settings, World
from foreman import BestFit

HOUR = 3600.0


@frozen(kw_only=True)
class Figures:
    """One simulation.

    Args:
        workers: How many there were.
        lock: Whether there was an interpreter lock.
        runs: How often those ran who keep to what they declare.
        kept: The share of these that were served within what was declared, 0 to 1.
        kept_to_outsized: The same for those who hold their node longer than they would wait.
        load: What they all really used, of one node's time.
        nodes: Nodes there were, mean.
        fewest_seen, most_seen: Nodes there were at any time.
        fewest_possible: As `benchmark.simulation.population.fewest_nodes`.
        moves_per_worker_hour: Moves, by worker and hour of the simulated clock.
        spawned, retired: Nodes.
        refused: Newcomers there was no place for.
        placements: How many were timed; those that spawned a node are not among them.
        placement_p50, placement_p99: CPU time of one, seconds.
        review_p50, review_p99: CPU time of one look at all nodes, seconds.
        learning: CPU time to take in one worker's measured cost, seconds, mean.
    """

    workers: int
    lock: bool
    runs: int
    kept: float
    kept_to_outsized: float
    load: float
    nodes: float
    fewest_seen: int
    most_seen: int
    fewest_possible: int
    moves_per_worker_hour: float
    spawned: int
    retired: int
    refused: int
    placements: int
    placement_p50: float
    placement_p99: float
    review_p50: float
    review_p99: float
    learning: float


def figures_of(world: World, settings: Settings) -> Figures:
    """What was measured, once the simulation has ended."""
    tally, promises = world.tally, world.tally.promises
    outsized = promises.outsized
    load = promises.held / settings.seconds
    return Figures(
        workers=settings.workers,
        lock=settings.lock,
        runs=promises.runs,
        kept=promises.kept,
        kept_to_outsized=1 - promises.late_outsized / outsized if outsized else 1.0,
        load=load,
        nodes=tally.nodes / tally.steps,
        fewest_seen=tally.fewest_nodes,
        most_seen=tally.most_nodes,
        fewest_possible=fewest_nodes(
            world.counts, load, BestFit().full, parallel=not settings.lock
        ),
        moves_per_worker_hour=tally.moves / settings.workers / settings.seconds * HOUR,
        spawned=tally.spawned,
        retired=tally.retired,
        refused=tally.refused,
        placements=tally.placements.total,
        placement_p50=tally.placements.percentile(50) / 1e9,
        placement_p99=tally.placements.percentile(99) / 1e9,
        review_p50=tally.reviews.percentile(50) / 1e9,
        review_p99=tally.reviews.percentile(99) / 1e9,
        learning=tally.learning / max(1, tally.learned) / 1e9,
    )
