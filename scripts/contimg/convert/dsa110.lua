--[[
 AOFlagger strategy for tiles of the DSA-110: one baseline, few integrations (5 to 24), many channels (48 to 768).

 Input is one real image, the root of the summed squares of the correlations' amplitudes: interference is in both
 receptors, and the sum of two has shorter tails than one. Visibilities are fringe-stopped, so that a source is
 smooth in time and its beats with others are slow; a line stands out against its neighbours in frequency, a burst
 against its neighbours in time.

 Methods: SumThreshold and the background fit of Offringa et al. (2010, MNRAS 405, 155); scale-invariant rank
 operator of Offringa et al. (2012, A&A 539, A95).
]]

aoflagger.require_min_version("3.0")

function execute(input)
  local sensitivity = 1.0 -- lower finds more, and flags more that is good
  local rounds = 3 -- each fits the background to what is left and doubles the sensitivity
  local grow_time, grow_frequency = 0.2, 0.1 -- flag what lies between flags, up to this share of a stretch

  local original = input:copy()
  local residual = input:copy()
  for round = 1, rounds do
    local level = sensitivity * 2.0 ^ (rounds - round)
    aoflagger.sumthreshold_masked(residual, original, level, level, true, true)
    if round < rounds then
      local channels = residual:copy()
      aoflagger.threshold_timestep_rms(residual, 3.5)
      aoflagger.threshold_channel_rms(channels, 3.0 * level, true)
      residual:join_mask(channels)
      residual:join_mask(original)

      -- The window and the width of the kernel: integrations first, then channels. Time is not thinned out
      -- before the fit, as there is little of it.
      local background = original:copy()
      background:set_mask(residual)
      aoflagger.low_pass_filter(background, 21, 31, 2.5, 5.0)
      local difference = original - background
      difference:set_mask(residual)
      residual = difference
    end
  end
  residual:join_mask(original)
  aoflagger.scale_invariant_rank_operator_masked(residual, original, grow_time, grow_frequency)
  aoflagger.threshold_timestep_rms(residual, 4.0)
  input:join_mask(residual)
end
