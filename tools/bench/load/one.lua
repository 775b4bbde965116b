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

-- What programs read: wrk's own lines are for people, in units that follow the values. Times in us.
function done(summary, latency)
    local e = summary.errors
    io.write(string.format('{"requests":%d,"duration_us":%d,"errors":%d,"latency_us":{', summary.requests,
             summary.duration, e.connect + e.read + e.write + e.status + e.timeout))
    for i, p in ipairs({50, 75, 90, 99}) do
        io.write(string.format('%s"p%d":%.0f', i > 1 and "," or "", p, latency:percentile(p)))
    end
    io.write("}}\n")
end
