-- Cacheable pictures by GET, each with another seed, closed loop:
--
--     wrk -t1 -c64 -d10s --timeout 60s -s tools/bench/load/pictures.lua http://127.0.0.1:8080 -- 'steps=4&sampler=ddim'

local query, seed = "", 0

function init(arguments)
    query = arguments[1] and "&" .. arguments[1] or ""
end

function request()
    seed = seed + 1
    return wrk.format("GET", string.format("/v1/samples/%d.png?seed=%d%s", seed % 10, seed, query))
end
