"""What clients of one server notice of a backplane that is gone, or hangs, and how it comes back.

`site` is a server, `victims` what is taken away, `probe` asks when messages cross again, `trial`
puts them together, and `report` tells of it.
"""
