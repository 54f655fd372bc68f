"""The policy on a simulated clock: many workers of which only the costs exist.

`population` says who they are, `worker` how the costs of one drift and burst, `node` what the
workers of a node really wait, `world` has the Foreman's own ledger and policy place, learn, review
and move as `foreman.dispatcher` does, and `figures` is what comes out.
"""
