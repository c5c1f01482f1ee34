"""Reading and acting on a deployed stack, as a person does, through boto3 alone: the command line (`local`) and the
console in the browser (`console`) share it. It knows no other part of the project but the contracts.
"""
