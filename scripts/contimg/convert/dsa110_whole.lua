--[[
 The strategy dsa110.lua for baselines of which nothing is missing. SumThreshold finds the same there without looking for
 missing samples, in a quarter of the time: two thirds of what a baseline costs otherwise.
]]

local folder = debug.getinfo(1, "S").source:match("^@(.*/)")

aoflagger.sumthreshold_masked = function(data, missing, ...)
  aoflagger.sumthreshold(data, ...)
end

dofile(folder .. "dsa110.lua")
