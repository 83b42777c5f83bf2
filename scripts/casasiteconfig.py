"""What CASA reads at its first import: its data tables are the casadata package's; nothing is downloaded."""

from casadata import datapath as _datapath

datapath = [_datapath]
measurespath = _datapath
data_auto_update = False
measures_auto_update = False
