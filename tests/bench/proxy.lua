-- wrk as a forward proxy's client: the absolute-form target comes from TARGET.
local target, extra = os.getenv("TARGET"), os.getenv("EXTRA") or ""
local host = target:match("^http://([^/]+)")
local text = "GET " .. target .. " HTTP/1.1\r\nHost: " .. host .. "\r\n" .. extra .. "\r\n"
request = function() return text end
