"""What happens in each part of the day, and when.

A moment is a share of the part. Each name is a function of happenings.py. A happening that comes late
delays those after it, and the end of the part; the load goes on meanwhile.

Nothing happens in the first two tenths and in the last one: the second tenth and the last one are
compared, at the same load.
"""

TIMETABLE = {
    1: [
        (0.21, "activate_policy"),
        (0.25, "erase_persons"),
        (0.28, "break_receiver"),
        (0.31, "mend_receiver"),
        (0.34, "rotate_api_key"),
        (0.38, "rotate_callback_secret"),
        (0.43, "upgrade_binary"),
        # Three hours for a day: 7.5 minutes for an hour. In parts of 90 minutes this is 9.
        (0.50, "freeze_provider"),
        (0.53, "erase_persons"),
        (0.60, "thaw_provider"),
        (0.70, "fill_disk"),
        (0.72, "free_disk"),
        (0.77, "fail_over"),
        (0.82, "bring_back_standby"),
        (0.85, "roll_back_policy"),
        (0.88, "erase_persons"),
    ],
    2: [
        (0.21, "activate_policy"),
        (0.25, "erase_persons"),
        (0.30, "rotate_vault_key"),
        (0.45, "rotate_webhook_secret"),
        (0.50, "kill_processes"),
        (0.55, "erase_by_number"),
        (0.60, "fail_over"),
        (0.66, "bring_back_standby"),
        (0.72, "break_receiver"),
        (0.75, "mend_receiver"),
        (0.80, "rotate_api_key"),
        (0.85, "roll_back_policy"),
        (0.88, "erase_persons"),
    ],
}

# Scripts of the simulated provider (docs/sandbox.md), how often each is drawn, and the outcomes or states
# that the verification may come to. A decision by a person may be any.
VERIFY_RESULT = [
    ("pass-97", 40, {"approve"}),
    ("pass-92", 8, {"approve"}),
    # Between the bounds of the two policies of the day.
    ("pass-88", 3, {"review", "approve"}),
    ("pass-noscore", 1, {"review"}),
    ("scores-97-96-91", 4, {"approve"}),
    ("status-2", 6, {"reject"}),
    ("status-3", 4, {"retry"}),
    ("status-7-99", 4, {"reject"}),
    ("status-12", 1, {"review"}),
    ("quit-1-then-pass-97", 4, {"approve"}),
    ("review-1-then-status-2", 2, {"reject"}),
    ("throttled-1-then-pass-97", 2, {"approve"}),
    ("http-503-x1-then-pass-97", 2, {"approve"}),
    ("torn-1-then-pass-97", 2, {"approve"}),
    ("slow-300-pass-97", 6, {"approve"}),
    ("slow-1500-status-7-12", 2, {"reject"}),
    ("xml-data-pass-97", 2, {"approve"}),
    ("expired", 1, {"expired"}),
    ("invalidbiz", 1, {"failed"}),
]
# As a CertifyId that was made elsewhere.
FACE_VERIFY = [
    ("fv-pass97", 20, {"approve"}),
    ("fv-204", 4, {"reject"}),
    ("fv-206", 1, {"review"}),
    ("fv-220", 2, {"retry"}),
    ("fv-424-then-pass97", 3, {"approve"}),
    ("fv-406", 1, {"expired"}),
]
# As an order number that is started by the API.
STARTS = [
    ("pass97", 6, {"approve"}),
    ("slow300pass97", 2, {"approve"}),
    ("sub204", 2, {"reject"}),
]

# What a sender does, and how often.
ACTIONS = [
    ("verify_result", 65),
    ("face_verify", 14),
    ("start", 6),
    ("repeat", 9),
    ("forge", 6),
]
