-- A second server for a request that one has died with: only while another one is left.

local SETTLED_MS = 2000  -- by then two checks have shown a death; twice their interval and time
local LONGEST_MS = 10000
local STEP_MS = 100

core.register_action("wait_for_two", {"http-req"}, function(txn)
  -- three, of which one may be the dead one
  if txn.f:nbsrv("ready") > 2 then return end
  local waited_ms = 0
  repeat
    core.msleep(STEP_MS)
    waited_ms = waited_ms + STEP_MS
  until waited_ms >= LONGEST_MS or (waited_ms >= SETTLED_MS and txn.f:nbsrv("ready") > 1)
end)
