"""The network: AlexNet features and the hash head, and where their first weights come from."""

from models.hashnet import HashNet

__all__ = ["HashNet"]
