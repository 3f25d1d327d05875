"""Says in words what happened: the kinds of events that gateways tell of, and what their facts are called.

A kind that is not known here is shown as it came, so a new family needs nothing here to be readable.
"""

from typing import Final

from collector.web.texts import Language

_KINDS: Final[dict[str, tuple[str, str]]] = {
    "door.granted": ("授权开门", "Opened with permission"),
    "door.denied": ("拒绝开门", "Denied"),
    "door.forced": ("门被强行打开", "Forced open"),
    "door.held_open": ("门长时间未关", "Held open"),
    "door.exit_request": ("按钮出门", "Exit button"),
    "door.opened": ("门已打开", "Door opened"),
    "door.closed": ("门已关闭", "Door closed"),
    "door.unlocked": ("门锁已开", "Unlocked"),
    "door.locked": ("门锁已锁", "Locked"),
    "door.tamper": ("设备被拆动", "Tampered with"),
    "door.tamper_ended": ("拆动已恢复", "Tampering ended"),
    "door.duress": ("胁迫报警", "Duress"),
    "door.fault": ("门禁故障", "Fault"),
    "door.fault_ended": ("门禁故障恢复", "Fault ended"),
    "door.other": ("门禁其他事件", "Other"),
    "door.unknown": ("未知的门禁事件", "Unknown event"),
    "door.card_read": ("读卡", "Card read"),
    "door.card_misread": ("读卡失败", "Card misread"),
    "door.pin_typed": ("输入密码", "PIN typed"),
    "door.pass_put": ("访客通行证已下发", "Visitor pass put"),
    "door.pass_taken": ("访客通行证已收回", "Visitor pass taken off"),
    "door.log_gap": ("门禁记录有缺失", "Part of the log is lost"),
    "door.log_restarted": ("门禁记录重新编号", "The log began anew"),
    "agent.started": ("网关程序启动", "Agent started"),
    "clock.set": ("网关校时", "The time became known"),
    "clock.stepped": ("网关时间跳变", "The time was put right"),
    "buffer.gap": ("数据有缺失", "Data are lost"),
    "buffer.set-aside": ("缓存文件损坏，已另存", "Damaged buffer set aside"),
    "buffer.salvaged": ("损坏文件中可读的数据已恢复", "Readable data of a damaged buffer brought back"),
    "buffer.epoch-began": ("缓存重新编号", "Numbers began again"),
    "osdp.secure": ("读卡器加密通信已建立", "Reader speaks encrypted"),
    "osdp.not_secure": ("读卡器通信未加密", "Reader speaks unencrypted"),
    "osdp.default_key": ("读卡器仍用出厂密钥", "Reader still has its default key"),
    "osdp.wrong_key": ("读卡器密钥不符", "Reader has another key"),
    "bay.changed": ("车位状态变化", "Parking bay changed"),
    "sensor.started": ("传感器启动", "Sensor started"),
    "sensor.error": ("传感器报错", "Sensor reports an error"),
    "radio.joined": ("传感器入网", "Sensor joined the network"),
    "radio.log": ("无线网络日志", "Message of the radio network"),
    "radio.refused": ("无线数据被拒收", "Radio data refused"),
    "radio.clock_wrong": ("传感器时钟有误", "Clock of the sensor is wrong"),
    "radio.clock_right": ("传感器时钟恢复", "Clock of the sensor is right again"),
    "ble.counter_started": ("首次收到传感器计数", "First counter of the sensor"),
    "ble.adapter_lost": ("蓝牙适配器失联", "Bluetooth adapter lost"),
    "ble.adapter_back": ("蓝牙适配器恢复", "Bluetooth adapter back"),
    "ble.adapter_reset": ("蓝牙适配器已重启", "Bluetooth adapter reset"),
    "ble.counter_reset": ("传感器计数重新开始", "Counter of the sensor began anew"),
    "device.refused": ("数据被拒收", "Data refused"),
    "device.offline": ("设备离线", "Offline"),
    "device.back": ("设备恢复在线", "Back online"),
    "device.clock_wrong": ("设备时钟有误", "Its clock is wrong"),
    "device.clock_right": ("设备时钟恢复", "Its clock is right again"),
    "device.described": ("设备档案", "Device described"),
    "certificate.renewed": ("证书已更新", "Certificate renewed"),
    "certificate.ending": ("证书即将到期且无法更新", "Its certificate ends soon and cannot be renewed"),
    "certificate.ended": ("证书已到期", "Its certificate has ended"),
    "command.rejected": ("收到无效命令", "Not a command for this gateway"),
    "command.done": ("命令已执行", "Command done"),
    "command.refused": ("命令被拒绝", "Command refused"),
    "command.failed": ("命令失败", "Command failed"),
    "config.applied": ("配置已生效", "Configuration applied"),
    "config.rejected": ("收到无效配置", "Not a configuration for this gateway"),
    "config.tried": ("配置试用中", "Configuration on trial"),
    "config.reverted": ("配置已撤回", "Configuration taken back"),
    "config.refused": ("配置被拒绝", "Configuration refused"),
}

_FACTS: Final[dict[str, tuple[str, str]]] = {
    "door": ("门", "door"),
    "reader": ("读卡器", "reader"),
    "direction": ("方向", "direction"),
    "reason": ("原因", "reason"),
    "credential": ("凭证", "credential"),
    "last4": ("卡号末四位", "last four digits"),
    "pseudonym": ("假名", "pseudonym"),
    "person": ("人员假名", "person"),
    "door_name": ("门", "door"),
    "what": ("内容", "what"),
    "detail": ("说明", "detail"),
    "bay": ("车位", "bay"),
    "was": ("原状态", "was"),
    "confidence": ("置信度", "confidence"),
    "serial": ("记录号", "serial number"),
    "lost_s": ("离线秒数", "seconds lost"),
    "off_s": ("偏差秒数", "seconds off"),
    "state": ("状态", "state"),
    "zone": ("区域", "zone"),
    "battery_pct": ("电量 %", "battery %"),
    "source": ("来源", "source"),
    "code": ("代码", "code"),
    "count": ("次数", "count"),
    "action": ("命令", "command"),
    "by": ("操作人", "by"),
}

_VALUES: Final[dict[str, tuple[str, str]]] = {
    "free": ("空闲", "free"),
    "occupied": ("占用", "occupied"),
    "unknown": ("未知", "unknown"),
    "out_of_service": ("停用", "out of service"),
    "in": ("进", "in"),
    "out": ("出", "out"),
    "card": ("卡", "card"),
    "face": ("人脸", "face"),
    "fingerprint": ("指纹", "fingerprint"),
    "pin": ("密码", "PIN"),
    "card_and_pin": ("卡加密码", "card and PIN"),
    "remote": ("远程", "remote"),
    "button": ("按钮", "button"),
    "no_right": ("无权限", "no right"),
    "outside_hours": ("不在时段内", "outside hours"),
    "expired": ("已过期", "expired"),
    "unknown_credential": ("未知凭证", "unknown credential"),
    "anti_passback": ("防潜回", "anti-passback"),
    "interlock": ("互锁", "interlock"),
    "first_card_missing": ("首卡未刷", "first card missing"),
    "group_incomplete": ("人数不足", "group incomplete"),
    "blocked": ("已封锁", "blocked"),
    "mode_not_allowed": ("当前模式不允许", "mode not allowed"),
    "card_and_fingerprint": ("卡加指纹", "card and fingerprint"),
    "card_and_face": ("卡加人脸", "card and face"),
    "several": ("多种", "several"),
    "too_many_attempts": ("尝试次数过多", "too many attempts"),
    "verification_failed": ("验证失败", "verification failed"),
    "timeout": ("超时", "timed out"),
}


def event_title(kind: str, language: Language) -> str:
    """What happened, in words."""
    return _said(_KINDS, kind, language)


def fact_title(name: str, language: Language) -> str:
    """What a fact of an event is called."""
    return _said(_FACTS, name, language)


def fact_value(value: object, language: Language) -> str:
    """A plain fact, in words where there are any."""
    if isinstance(value, bool):
        return ("是", "yes")[language == "en"] if value else ("否", "no")[language == "en"]
    if isinstance(value, float):
        return f"{value:g}"
    return _said(_VALUES, str(value), language)


def _said(words: dict[str, tuple[str, str]], key: str, language: Language) -> str:
    known = words.get(key)
    return key if known is None else known[language == "en"]
