"""The admin part of the service: who may see and do what there, and the record of what they did."""
