"""Settings: every flag of every command, and how they are resolved."""

from utils.config.options import FULL_METHOD, Config
from utils.config.parser import (
    EXPORT_COMMAND,
    INFER_COMMAND,
    PREDICT_COMMAND,
    TRAIN_COMMAND,
    TRAIN_MULTI_COMMAND,
    command_to_resume,
    next_command,
    parse_config,
)
