from . import Specialisation

SPECIALISATIONS = [Specialisation("send", "send", {}, threads=256)]
