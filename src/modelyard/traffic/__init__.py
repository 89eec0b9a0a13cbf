"""Traffic between champion and challenger: the wanted split, its upkeep and its automatic end.

`plan` is what somebody wants, `control` how the gateway is told, `watch` the process that keeps the
two the same and sends the traffic back to the champion when the challenger fails.
"""
