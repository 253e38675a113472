"""What programs written for other packages expect, under the names that they know. Nothing else imports it."""
