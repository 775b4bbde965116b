-- The same request again and again, closed loop; the second argument is what is accepted:
--
--     wrk -t1 -c64 -d10s --timeout 60s -s tools/bench/load/one.lua http://127.0.0.1:8080 -- '{"label":7,"guidance_scale":1}' image/png

function init(arguments)
    wrk.method = "POST"
    wrk.path = "/v1/samples"
    wrk.body = arguments[1] or '{"label":7}'
    wrk.headers["Content-Type"] = "application/json"
    wrk.headers["Accept"] = arguments[2] or "application/json"
end
