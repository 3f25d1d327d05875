"""The names that points usually have, which a batch therefore need not spell out.

It gives their places in this list. A name that is not here costs its letters once a batch, no more. The list
is part of the wire format: new names go to its end, and none is ever moved or taken out.
"""

from typing import Final

NAMES: Final = (
    *("voltage_l1_v", "voltage_l2_v", "voltage_l3_v", "voltage_ln_avg_v"),
    *("voltage_l12_v", "voltage_l23_v", "voltage_l31_v", "voltage_ll_avg_v"),
    *("current_l1_a", "current_l2_a", "current_l3_a", "current_neutral_a", "current_a", "voltage_v"),
    *("active_power_l1_kw", "active_power_l2_kw", "active_power_l3_kw", "active_power_kw"),
    *("reactive_power_l1_kvar", "reactive_power_l2_kvar", "reactive_power_l3_kvar", "reactive_power_kvar"),
    *("apparent_power_l1_kva", "apparent_power_l2_kva", "apparent_power_l3_kva", "apparent_power_kva"),
    *("power_factor_l1", "power_factor_l2", "power_factor_l3", "power_factor", "power_factor_quadrant"),
    *("frequency_hz", "voltage_thd_l1_pct", "voltage_thd_l2_pct", "voltage_thd_l3_pct"),
    *("current_thd_l1_pct", "current_thd_l2_pct", "current_thd_l3_pct", "demand_kw", "demand_max_kw"),
    *("energy_import_rate_a_kwh", "energy_import_rate_b_kwh", "energy_import_rate_c_kwh"),
    *("energy_import_rate_d_kwh", "energy_import_spike_kwh", "energy_import_peak_kwh"),
    *("energy_import_flat_kwh", "energy_import_valley_kwh", "energy_total_kwh"),
    *("energy_import_l1_kwh", "energy_import_l2_kwh", "energy_import_l3_kwh"),
    *("reactive_energy_total_kvarh", "reactive_energy_import_kvarh", "reactive_energy_export_kvarh"),
    *("energy_export_kwh", "energy_import_kwh", "volume_m3", "flow_m3_per_h", "temperature_flow_c"),
    *("temperature_return_c", "energy_heat_kwh", "energy_cooling_kwh", "power_kw", "temperature_c"),
    *("humidity_pct", "leak", "door_open", "battery_pct", "signal_dbm", "occupied", "status"),
)
