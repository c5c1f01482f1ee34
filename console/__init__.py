"""The console in the browser: see the run, judge the model, talk to the recommender. It speaks to AWS through `control`
(boto3 alone) and knows no other part of the project but the contracts, so that it is the same for the embedded AWS and
for an account.
"""
