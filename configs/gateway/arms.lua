-- What haproxy.cfg cannot say by itself: a sticky key from a header named at run time, and shadow
-- requests. Whatever happens to a shadow request, the client's own request knows nothing of it.

local function number_of(name)
  local text = os.getenv(name)
  return tonumber(text) or error(name .. ": expected a number, found " .. (text or "nothing"))
end

local LIMIT = number_of("GATEWAY_SHADOW_CONCURRENCY")
local TIMEOUT_MS = number_of("GATEWAY_CHALLENGER_TIMEOUT_MS")
local ADDRESS = "http://127.0.0.1:8406"
-- the headers that say what the body is, and by which the copy is found in the challenger's log
local COPIED = {"content-type", "inference-header-content-length", "x-request-id", "traceparent"}

local under_way = 0
local counts = {sent = 0, dropped = 0, failed = 0}
local keys = {present = 0, absent = 0}

core.register_action("sticky_key", {"http-req"}, function(txn)
  local _, _, header = string.find(txn:get_var("txn.split"), "^[^:]*:[^:]*:([^:]+)")
  local key = header and txn.sf:req_fhdr(header) or ""
  if key == "" then  -- it is drawn by lot, and somebody should know
    keys.absent = keys.absent + 1
  else
    keys.present = keys.present + 1
    txn:set_var("txn.key", key)
  end
end)

core.register_action("shadow", {"http-req"}, function(txn)
  if under_way >= LIMIT then
    counts.dropped = counts.dropped + 1
    return
  end
  local headers = {}
  for _, name in ipairs(COPIED) do
    local value = txn.sf:req_fhdr(name)
    if value ~= "" then headers[name] = {value} end
  end
  local request = {
    url = ADDRESS .. txn.sf:path(),
    headers = headers,
    body = txn.sf:req_body(),
    timeout = TIMEOUT_MS + 1000,  -- HAProxy gives up first, and counts it
  }
  under_way = under_way + 1
  core.register_task(function()
    local ok, answer = pcall(function() return core.httpclient():post(request) end)
    under_way = under_way - 1
    counts.sent = counts.sent + 1
    if not ok or answer.status == 0 or answer.status >= 500 then
      counts.failed = counts.failed + 1
    end
  end)
end)

-- on the control socket: `show arms`
core.register_cli({"show", "arms"}, "show arms: copies of requests by what became of them, keys of A/B", function(applet)
  applet:send(string.format(
    "sent=%d dropped=%d failed=%d present=%d absent=%d\n",
    counts.sent, counts.dropped, counts.failed, keys.present, keys.absent))
end)

-- Prometheus text; the answers themselves are counted by HAProxy's exporter (backend challengers).
core.register_service("arms_metrics", "http", function(applet)
  local text = "# TYPE modelyard_shadow_requests counter\n"
    .. "# HELP modelyard_shadow_requests Copies of requests for the challenger, by what became of them.\n"
  for _, result in ipairs({"sent", "dropped", "failed"}) do
    text = text .. string.format(
      'modelyard_shadow_requests_total{result="%s"} %d\n', result, counts[result])
  end
  text = text .. "# TYPE modelyard_shadow_in_flight gauge\n"
    .. "modelyard_shadow_in_flight " .. under_way .. "\n"
    .. "# TYPE modelyard_ab_requests counter\n"
    .. "# HELP modelyard_ab_requests Requests under A/B, by whether they carried the key.\n"
  for _, key in ipairs({"present", "absent"}) do
    text = text .. string.format('modelyard_ab_requests_total{key="%s"} %d\n', key, keys[key])
  end
  applet:set_status(200)
  applet:add_header("content-type", "text/plain; version=0.0.4")
  applet:add_header("content-length", #text)
  applet:start_response()
  applet:send(text)
end)
