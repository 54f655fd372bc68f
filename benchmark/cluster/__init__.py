"""What a cluster costs: two servers beside the bare library, many servers, many clients at once.

`rows` has what the command measures. `backplanes` has what connects the servers, with real brokers.
`crossing` measures messages between two servers, and `beside` two processes with the library alone
(`bare`, `libraries`); `scaling` counts what many servers say; `simulation` goes on where no machine
is large enough, with `memory`; `returning` kills one of two, whose clients are the `crowd`.
"""
