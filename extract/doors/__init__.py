"""The doors through which a network comes in: torchvision, timm, a Hugging Face folder, or an exported program."""
