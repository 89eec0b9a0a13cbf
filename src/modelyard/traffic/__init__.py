"""Traffic between champion and challenger: the split, its counts and its automatic end.

`plan` is the split that a user chose, `control` sets it in the gateway, and `watch` keeps the two
the same and sends all traffic back to the champion when the challenger fails.
"""
