"""The account.

See: https://platform.kimi.ai/docs/api/balance
"""

from typing import Unpack

from moonshot_async.resources.call import CallOptions, Resource, check_options
from moonshot_async.types.users import Balance, decode_balance


class Users(Resource):
    """`client.users`."""

    async def balance(self, **options: Unpack[CallOptions]) -> Balance:
        """Look up what the account has left, as exact `Decimal`s: USD on api.moonshot.ai, CNY on api.moonshot.cn.

        Raises:
            APIError: in all its kinds; also where the answer itself says that the call failed.

        See: https://platform.kimi.ai/docs/api/balance
        """
        check_options(options, call="balance")
        request = self._pipeline.request("GET", "/users/me/balance", **options)
        return await self._pipeline.fetch(request, decode_balance)
