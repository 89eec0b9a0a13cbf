-- Which pages may read an answer: SERVING_CORS_ORIGINS, as the servers read it.

local origins = {}
for origin in string.gmatch(os.getenv("SERVING_CORS_ORIGINS") or "", "[^%s,]+") do
  origins[string.gsub(string.lower(origin), "/$", "")] = true
end

-- txn.origin: what Access-Control-Allow-Origin says of this request; not set where it says nothing
core.register_action("allowed_origin", {"http-req"}, function(txn)
  local origin = txn.sf:req_fhdr("origin")
  if origins["*"] then
    txn:set_var("txn.origin", "*")
  elseif origins[origin] then
    txn:set_var("txn.origin", origin)
  end
end)
