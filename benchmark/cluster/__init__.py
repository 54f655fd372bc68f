"""What a cluster costs: two servers beside the bare library, many servers, many clients at once.

`backplanes` has what connects the servers; `crossing` measures messages between two of them and
`bare` the library by itself, `scaling` counts what many of them say, `simulation` goes on where no
machine is large enough, and `returning` kills one of two.
"""
